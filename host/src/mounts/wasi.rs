//! `wasi:filesystem` over a tree of files: reading is Wasmtime's, writing is refused, and a path leads nowhere but into the tree.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::UNIX_EPOCH;

use types::{
    Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
    DirectoryEntryStream, ErrorCode, Filesize, MetadataHashValue, NewTimestamp, OpenFlags,
    PathFlags,
};
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::filesystem::{
    File, FsPerms, OpenMode, WasiFilesystemCtx, WasiFilesystemCtxView,
};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use super::{Missing, Mounts, Node};
use crate::state::Sandbox;

/// Adds the interfaces to `linker`.
pub(crate) fn link(linker: &mut Linker<Sandbox>) -> Result<()> {
    types::add_to_linker::<_, Access>(linker, Sandbox::mounts)?;
    preopens::add_to_linker::<_, Access>(linker, Sandbox::mounts)
}

struct Access;

impl HasData for Access {
    type Data<'a> = View<'a>;
}

/// The tree, seen from one instance.
pub(crate) struct View<'a> {
    pub(crate) table: &'a mut ResourceTable,
    /// `None` if the component has none, which then does not link this either.
    pub(crate) mounts: Option<&'a Mounts>,
}

/// What is behind a descriptor of ours. The generated code knows descriptors by the type that Wasmtime has for them; a handle is a number
/// in the table, and what the table holds there is ours.
struct Opened {
    node: usize,
    /// Files only: Wasmtime's descriptor of it, which reads.
    file: Option<Resource<Descriptor>>,
}

/// A listing under way. It holds no names but one: a component may have a thousand of them.
struct Listing {
    node: usize,
    last: Option<String>,
}

fn ours(descriptor: &Resource<Descriptor>) -> Resource<Opened> {
    Resource::new_borrow(descriptor.rep())
}

impl From<Missing> for ErrorCode {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::None => Self::NoEntry,
            Missing::NotAFolder => Self::NotDirectory,
            Missing::Outside => Self::NotPermitted,
        }
    }
}

impl View<'_> {
    fn tree(&self) -> FsResult<&Mounts> {
        self.mounts.ok_or_else(|| ErrorCode::NoEntry.into())
    }

    fn opened(&self, descriptor: &Resource<Descriptor>) -> FsResult<&Opened> {
        Ok(self.table.get(&ours(descriptor))?)
    }

    /// Wasmtime's descriptor of a file.
    fn file(&self, descriptor: &Resource<Descriptor>) -> FsResult<Resource<Descriptor>> {
        let file = self.opened(descriptor)?.file.as_ref();
        let file = file.ok_or(ErrorCode::IsDirectory)?;
        Ok(Resource::new_borrow(file.rep()))
    }

    /// The node at `path` from a folder.
    fn lookup(&self, folder: &Resource<Descriptor>, path: &str) -> FsResult<usize> {
        let from = self.opened(folder)?.node;
        let found = self.tree()?.lookup(from, path);
        Ok(found.map_err(ErrorCode::from)?)
    }

    fn push(&mut self, opened: Opened) -> FsResult<Resource<Descriptor>> {
        let rep = self.table.push(opened)?.rep();
        Ok(Resource::new_own(rep))
    }

    /// Wasmtime's own view of the same table.
    fn wasmtime<'a>(&'a mut self, ctx: &'a mut WasiFilesystemCtx) -> WasiFilesystemCtxView<'a> {
        WasiFilesystemCtxView {
            ctx,
            table: self.table,
        }
    }

    fn kind(&self, node: usize) -> FsResult<DescriptorType> {
        Ok(kind(&self.tree()?.nodes[node]))
    }

    fn stat_of(&self, node: usize) -> FsResult<DescriptorStat> {
        let mut stat = DescriptorStat {
            type_: self.kind(node)?,
            link_count: 1,
            size: 0,
            data_access_timestamp: None,
            data_modification_timestamp: None,
            status_change_timestamp: None,
        };
        if let Node::File(path) = &self.tree()?.nodes[node] {
            let file = std::fs::symlink_metadata(path)?;
            stat.size = file.len();
            let modified = file.modified()?.duration_since(UNIX_EPOCH);
            stat.data_modification_timestamp = modified.ok().map(|since| Datetime {
                seconds: since.as_secs(),
                nanoseconds: since.subsec_nanos(),
            });
        }
        Ok(stat)
    }
}

fn kind(node: &Node) -> DescriptorType {
    match node {
        Node::Folder(_) => DescriptorType::Directory,
        Node::File(_) => DescriptorType::RegularFile,
    }
}

fn hash(node: usize) -> MetadataHashValue {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    MetadataHashValue {
        lower: hasher.finish(),
        upper: node as u64,
    }
}

fn read_only<T>() -> FsResult<T> {
    Err(ErrorCode::ReadOnly.into())
}

impl preopens::Host for View<'_> {
    fn get_directories(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>> {
        let root = Opened {
            node: 0,
            file: None,
        };
        let rep = self.table.push(root)?.rep();
        Ok(vec![(Resource::new_own(rep), "/".to_owned())])
    }
}

impl types::Host for View<'_> {
    fn convert_error_code(&mut self, error: FsError) -> Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?.downcast_ref::<std::io::Error>();
        Ok(error.map(ErrorCode::from))
    }
}

impl types::HostDescriptor for View<'_> {
    async fn open_at(
        &mut self,
        folder: Resource<Descriptor>,
        _follow: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let writes = DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY;
        if flags.intersects(writes) || how.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE) {
            return read_only();
        }
        let node = self.lookup(&folder, &path)?;
        let is_folder = self.kind(node)? == DescriptorType::Directory;
        if !is_folder && (how.contains(OpenFlags::DIRECTORY) || path.ends_with('/')) {
            return Err(ErrorCode::NotDirectory.into());
        }
        let file = match is_folder {
            true => None,
            false => {
                let file = self.tree()?.open(node)?;
                let file = File::new(file, FsPerms::ReadOnly, OpenMode::READ, false);
                Some(self.table.push(Descriptor::File(file))?)
            }
        };
        self.push(Opened { node, file })
    }

    fn drop(&mut self, descriptor: Resource<Descriptor>) -> Result<()> {
        let owned = Resource::<Opened>::new_own(descriptor.rep());
        if let Some(file) = self.table.delete(owned)?.file {
            self.table.delete(file)?;
        }
        Ok(())
    }

    async fn read(
        &mut self,
        descriptor: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        let file = self.file(&descriptor)?;
        let mut context = WasiFilesystemCtx::default();
        let mut wasmtime = self.wasmtime(&mut context);
        types::HostDescriptor::read(&mut wasmtime, file, length, offset).await
    }

    fn read_via_stream(
        &mut self,
        descriptor: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let file = self.file(&descriptor)?;
        let mut context = WasiFilesystemCtx::default();
        let mut wasmtime = self.wasmtime(&mut context);
        types::HostDescriptor::read_via_stream(&mut wasmtime, file, offset)
    }

    async fn read_directory(
        &mut self,
        descriptor: Resource<Descriptor>,
    ) -> FsResult<Resource<DirectoryEntryStream>> {
        let node = self.opened(&descriptor)?.node;
        if self.kind(node)? != DescriptorType::Directory {
            return Err(ErrorCode::NotDirectory.into());
        }
        let listing = Listing { node, last: None };
        let rep = self.table.push(listing)?.rep();
        Ok(Resource::new_own(rep))
    }

    async fn get_type(&mut self, descriptor: Resource<Descriptor>) -> FsResult<DescriptorType> {
        let node = self.opened(&descriptor)?.node;
        self.kind(node)
    }

    async fn get_flags(&mut self, descriptor: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        self.opened(&descriptor)?;
        Ok(DescriptorFlags::READ)
    }

    async fn stat(&mut self, descriptor: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        let node = self.opened(&descriptor)?.node;
        self.stat_of(node)
    }

    async fn stat_at(
        &mut self,
        folder: Resource<Descriptor>,
        _follow: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        let node = self.lookup(&folder, &path)?;
        self.stat_of(node)
    }

    async fn is_same_object(
        &mut self,
        one: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> Result<bool> {
        let one = self.table.get(&ours(&one))?.node;
        Ok(one == self.table.get(&ours(&other))?.node)
    }

    async fn metadata_hash(
        &mut self,
        descriptor: Resource<Descriptor>,
    ) -> FsResult<MetadataHashValue> {
        Ok(hash(self.opened(&descriptor)?.node))
    }

    async fn metadata_hash_at(
        &mut self,
        folder: Resource<Descriptor>,
        _follow: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        Ok(hash(self.lookup(&folder, &path)?))
    }

    async fn readlink_at(
        &mut self,
        folder: Resource<Descriptor>,
        path: String,
    ) -> FsResult<String> {
        // Links were followed when the tree was made; what is in it is none.
        self.lookup(&folder, &path)?;
        Err(ErrorCode::Invalid.into())
    }

    async fn advise(
        &mut self,
        _: Resource<Descriptor>,
        _: Filesize,
        _: Filesize,
        _: Advice,
    ) -> FsResult<()> {
        Ok(())
    }

    async fn sync_data(&mut self, _: Resource<Descriptor>) -> FsResult<()> {
        Ok(())
    }

    async fn sync(&mut self, _: Resource<Descriptor>) -> FsResult<()> {
        Ok(())
    }

    async fn set_size(&mut self, _: Resource<Descriptor>, _: Filesize) -> FsResult<()> {
        read_only()
    }

    async fn set_times(
        &mut self,
        _: Resource<Descriptor>,
        _: NewTimestamp,
        _: NewTimestamp,
    ) -> FsResult<()> {
        read_only()
    }

    async fn set_times_at(
        &mut self,
        _: Resource<Descriptor>,
        _: PathFlags,
        _: String,
        _: NewTimestamp,
        _: NewTimestamp,
    ) -> FsResult<()> {
        read_only()
    }

    async fn write(
        &mut self,
        _: Resource<Descriptor>,
        _: Vec<u8>,
        _: Filesize,
    ) -> FsResult<Filesize> {
        read_only()
    }

    fn write_via_stream(
        &mut self,
        _: Resource<Descriptor>,
        _: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        read_only()
    }

    fn append_via_stream(
        &mut self,
        _: Resource<Descriptor>,
    ) -> FsResult<Resource<DynOutputStream>> {
        read_only()
    }

    async fn create_directory_at(&mut self, _: Resource<Descriptor>, _: String) -> FsResult<()> {
        read_only()
    }

    async fn link_at(
        &mut self,
        _: Resource<Descriptor>,
        _: PathFlags,
        _: String,
        _: Resource<Descriptor>,
        _: String,
    ) -> FsResult<()> {
        read_only()
    }

    async fn remove_directory_at(&mut self, _: Resource<Descriptor>, _: String) -> FsResult<()> {
        read_only()
    }

    async fn rename_at(
        &mut self,
        _: Resource<Descriptor>,
        _: String,
        _: Resource<Descriptor>,
        _: String,
    ) -> FsResult<()> {
        read_only()
    }

    async fn symlink_at(&mut self, _: Resource<Descriptor>, _: String, _: String) -> FsResult<()> {
        read_only()
    }

    async fn unlink_file_at(&mut self, _: Resource<Descriptor>, _: String) -> FsResult<()> {
        read_only()
    }
}

impl types::HostDirectoryEntryStream for View<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        let tree = self.mounts.ok_or(ErrorCode::NoEntry)?;
        let listing = Resource::<Listing>::new_borrow(stream.rep());
        let listing = self.table.get_mut(&listing)?;
        let Node::Folder(names) = &tree.nodes[listing.node] else {
            return Err(ErrorCode::NotDirectory.into());
        };
        let after = listing.last.as_deref().map_or(Unbounded, Excluded);
        let Some((name, &index)) = names.range::<str, _>((after, Unbounded)).next() else {
            return Ok(None);
        };
        listing.last = Some(name.clone());
        Ok(Some(DirectoryEntry {
            type_: kind(&tree.nodes[index]),
            name: name.clone(),
        }))
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> Result<()> {
        let owned = Resource::<Listing>::new_own(stream.rep());
        self.table.delete(owned)?;
        Ok(())
    }
}
