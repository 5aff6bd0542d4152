//! `fermyon:spin/key-value@2.0.0`: the store `default` of an application, one database file in its `.spin` folder.
//!
//! Components that list the store share it. A value is on the disk when `set` returns. The size of keys, values and of the whole is
//! bounded, so that a component cannot fill the disk, and the cache is small, because an idle server holds little memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use anyhow::{Context, Result};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use crate::apart::Threads;
use crate::state::Sandbox;

/// The interface that a component with a store imports.
pub(crate) const INTERFACE: &str = "fermyon:spin/key-value@2.0.0";

/// The store's name in `key_value_stores`.
pub(crate) const LABEL: &str = "default";

/// Where it is, below the project's folder.
pub(crate) const FILE: &str = ".spin/key-value.redb";

/// Longest key, in bytes: that of the smallest edge platform we target.
const MAX_KEY_BYTES: usize = 255;

/// Longest value, in bytes: that of the same platform.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// Keys and values in all, in bytes. The file is larger by the database's own pages.
const MAX_STORE_BYTES: u64 = 64 << 20;

/// A listing of keys is one answer, so their number is bounded.
const MAX_KEYS: u64 = 1 << 16;

/// Pages of the database that are kept in memory, in bytes; the kernel keeps others.
const CACHE_BYTES: usize = 1 << 20;

const VALUES: TableDefinition<&str, &[u8]> = TableDefinition::new("values");
/// Under `BYTES`, how many bytes `VALUES` holds, and under `KEYS`, how many keys.
const SIZES: TableDefinition<&str, u64> = TableDefinition::new("sizes");
const BYTES: &str = "bytes";
const KEYS: &str = "keys";

/// A store, open.
pub struct Store {
    database: Database,
    threads: Threads,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

/// Why there is no answer from a store, as the interface has it.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub enum Error {
    /// The component holds too many handles.
    #[component(name = "store-table-full")]
    StoreTableFull,
    /// There is none of this name.
    #[component(name = "no-such-store")]
    NoSuchStore,
    /// The manifest does not give it to this component.
    #[component(name = "access-denied")]
    AccessDenied,
    /// A bound, or the disk.
    #[component(name = "other")]
    Other(String),
}

impl Error {
    /// The component is told that it failed, and the log why.
    fn of_disk(error: impl Into<redb::Error>) -> Self {
        tracing::error!("key-value store: {}", error.into());
        Self::Other("the store could not be read or written".into())
    }
}

/// Stores that are open in this process: the database has one owner, and two versions of an application may overlap.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Weak<Store>>>> = LazyLock::new(Mutex::default);

impl Store {
    /// Opens the database at `path`, or makes it.
    ///
    /// # Errors
    ///
    /// It cannot be made or read, or another process has it.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(path).and_then(Weak::upgrade) {
            return Ok(store);
        }
        let store = Arc::new(
            Self::create(path)
                .with_context(|| format!("opening the key-value store {}", path.display()))?,
        );
        open.insert(path.to_owned(), Arc::downgrade(&store));
        Ok(store)
    }

    /// A store that is on no disk, to link a component with that will not ask for it.
    pub(crate) fn nowhere() -> Result<Arc<Self>> {
        let memory = redb::backends::InMemoryBackend::new();
        let database = Database::builder().create_with_backend(memory)?;
        Ok(Arc::new(Self::of(database)))
    }

    fn create(path: &Path) -> Result<Self> {
        let folder = path.parent().context("a file has a folder")?;
        std::fs::create_dir_all(folder)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)?;
        // Tables are there from the start, so that reading finds them.
        let write = database.begin_write()?;
        write.open_table(VALUES)?;
        write.open_table(SIZES)?;
        write.commit()?;
        Ok(Self::of(database))
    }

    fn of(database: Database) -> Self {
        Self {
            database,
            threads: Threads::default(),
        }
    }

    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let get = || -> Result<_, redb::Error> {
            let values = self.database.begin_read()?.open_table(VALUES)?;
            Ok(values.get(key)?.map(|value| value.value().to_vec()))
        };
        get().map_err(Error::of_disk)
    }

    /// Makes `value` the value of `key`.
    ///
    /// # Errors
    ///
    /// A key or a value that is too long, a store that is full, and the disk's.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let over = |what: &str, actual: usize, limit: usize| {
            let said = format!("{what} of {actual} bytes, the limit is {limit}");
            Err(Error::Other(said))
        };
        if key.len() > MAX_KEY_BYTES {
            return over("a key", key.len(), MAX_KEY_BYTES);
        }
        if value.len() > MAX_VALUE_BYTES {
            return over("a value", value.len(), MAX_VALUE_BYTES);
        }
        let set = || -> Result<bool, redb::Error> {
            let write = self.database.begin_write()?;
            let fits = {
                let mut values = write.open_table(VALUES)?;
                let mut sizes = write.open_table(SIZES)?;
                let before = values.insert(key, value)?;
                let before = before.map(|value| (key.len() + value.value().len()) as u64);
                let added = (key.len() + value.len()) as u64;
                let bytes = size(&sizes, BYTES)? + added - before.unwrap_or(0);
                let keys = size(&sizes, KEYS)? + u64::from(before.is_none());
                sizes.insert(BYTES, bytes)?;
                sizes.insert(KEYS, keys)?;
                bytes <= MAX_STORE_BYTES && keys <= MAX_KEYS
            };
            match fits {
                true => write.commit()?,
                false => write.abort()?,
            }
            Ok(fits)
        };
        match set().map_err(Error::of_disk)? {
            true => Ok(()),
            false => Err(Error::Other(format!(
                "the store is full: it may hold {MAX_STORE_BYTES} bytes and {MAX_KEYS} keys"
            ))),
        }
    }

    /// Removes `key`, if it is there.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        let delete = || -> Result<(), redb::Error> {
            let write = self.database.begin_write()?;
            {
                let mut values = write.open_table(VALUES)?;
                let mut sizes = write.open_table(SIZES)?;
                let removed = values.remove(key)?;
                let removed = removed.map(|value| (key.len() + value.value().len()) as u64);
                let bytes = size(&sizes, BYTES)?;
                let keys = size(&sizes, KEYS)?;
                sizes.insert(BYTES, bytes.saturating_sub(removed.unwrap_or(0)))?;
                sizes.insert(KEYS, keys.saturating_sub(u64::from(removed.is_some())))?;
            }
            Ok(write.commit()?)
        };
        delete().map_err(Error::of_disk)
    }

    /// All keys, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn keys(&self) -> Result<Vec<String>, Error> {
        let keys = || -> Result<Vec<String>, redb::Error> {
            let values = self.database.begin_read()?.open_table(VALUES)?;
            let entries = values.iter()?;
            let keys = entries.map(|entry| Ok(entry?.0.value().to_owned()));
            keys.collect()
        };
        keys().map_err(Error::of_disk)
    }
}

fn size(sizes: &impl ReadableTable<&'static str, u64>, what: &str) -> Result<u64, redb::Error> {
    Ok(sizes.get(what)?.map_or(0, |size| size.value()))
}

/// A handle: all of them lead to the one store that the component has. It has its place in the instance's table, which is bounded.
struct Handle;

/// Adds the interface to `linker`; the store is the sandbox's.
pub(crate) fn link(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(INTERFACE)?;
    let close = |mut call: wasmtime::StoreContextMut<'_, Sandbox>, rep| {
        let handle = Resource::<Handle>::new_own(rep);
        call.data_mut().table().delete(handle)?;
        Ok(())
    };
    interface.resource("store", ResourceType::host::<Handle>(), close)?;
    interface.func_wrap("[static]store.open", |mut call, (label,): (String,)| {
        let sandbox = call.data_mut();
        let granted = sandbox.grants.store.is_some();
        Ok((match granted {
            true if label == LABEL => {
                let handle = sandbox.table().push(Handle);
                handle.map_err(|_| Error::StoreTableFull)
            }
            true => Err(Error::NoSuchStore),
            false => Err(Error::AccessDenied),
        },))
    })?;
    type Key = (Resource<Handle>, String);
    interface.func_wrap_async("[method]store.get", |call, (_, key): Key| {
        let store = call.data().grants.store.clone();
        Box::new(async move { Ok((apart(store, move |store| store.get(&key)).await,)) })
    })?;
    interface.func_wrap_async("[method]store.exists", |call, (_, key): Key| {
        let store = call.data().grants.store.clone();
        let exists = move |store: &Store| Ok(store.get(&key)?.is_some());
        Box::new(async move { Ok((apart(store, exists).await,)) })
    })?;
    interface.func_wrap_async("[method]store.delete", |call, (_, key): Key| {
        let store = call.data().grants.store.clone();
        Box::new(async move { Ok((apart(store, move |store| store.delete(&key)).await,)) })
    })?;
    type Entry = (Resource<Handle>, String, Vec<u8>);
    interface.func_wrap_async("[method]store.set", |call, (_, key, value): Entry| {
        let store = call.data().grants.store.clone();
        let set = move |store: &Store| store.set(&key, &value);
        Box::new(async move { Ok((apart(store, set).await,)) })
    })?;
    type Whole = (Resource<Handle>,);
    interface.func_wrap_async("[method]store.get-keys", |call, (_,): Whole| {
        let store = call.data().grants.store.clone();
        Box::new(async move { Ok((apart(store, Store::keys).await,)) })
    })
}

/// Does `work`, which waits for the disk, where nobody else has to wait for it.
async fn apart<T: Send + 'static>(
    store: Option<Arc<Store>>,
    work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let store = store.ok_or(Error::AccessDenied)?;
    let threads = store.threads.clone();
    let work = threads.run(move || work(&store)).await;
    work.unwrap_or_else(|_| Err(Error::Other("the store failed".into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_there_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        let store = Store::open(&path).expect("it is made");
        assert_eq!(store.get("a"), Ok(None));
        for (key, value) in [("b", "2"), ("a", "1"), ("b", "22")] {
            store.set(key, value.as_bytes()).expect("it fits");
        }
        assert_eq!(store.keys(), Ok(vec!["a".into(), "b".into()]));
        let again = Store::open(&path).expect("this process has it");
        assert!(Arc::ptr_eq(&store, &again));
        drop((store, again));

        let store = Store::open(&path).expect("nobody has it");
        assert_eq!(store.get("b"), Ok(Some(b"22".to_vec())));
        for key in ["b", "none"] {
            store.delete(key).expect("it is gone");
        }
        assert_eq!(store.keys(), Ok(vec!["a".into()]));
        let read = store.database.begin_read().expect("it reads");
        let sizes = read.open_table(SIZES).expect("it is there");
        assert_eq!(size(&sizes, BYTES).expect("it reads"), 2);
        assert_eq!(size(&sizes, KEYS).expect("it reads"), 1);
    }

    #[test]
    fn keys_values_and_the_store_are_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join(FILE)).expect("it is made");
        let long = "k".repeat(MAX_KEY_BYTES + 1);
        let big = vec![0; MAX_VALUE_BYTES + 1];
        for (key, value, expected) in [
            (
                long.as_str(),
                &b""[..],
                "a key of 256 bytes, the limit is 255",
            ),
            ("k", &big, "a value of 1048577 bytes"),
        ] {
            let Err(Error::Other(said)) = store.set(key, value) else {
                panic!("{expected}");
            };
            assert!(said.contains(expected), "{said}");
        }
        // As if it were full already.
        let write = store.database.begin_write().expect("it writes");
        let mut sizes = write.open_table(SIZES).expect("it is there");
        sizes.insert(BYTES, MAX_STORE_BYTES).expect("it writes");
        drop(sizes);
        write.commit().expect("it writes");
        assert!(store.set("k", b"").is_err());
        assert_eq!(store.get("k"), Ok(None));
    }
}
