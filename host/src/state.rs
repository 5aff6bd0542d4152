//! What one instance may see and hold: the data behind a store.
//!
//! No file, no environment, no network, unless the function's `Grants` have some. Memory is granted up to a ceiling, and a refusal is
//! remembered, so that the answer can say why the instance failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{ResourceLimiter, Result};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::grants::Grants;
use crate::mounts;
use crate::nn::wasi::Session;
use crate::outbound::Outbound;
use crate::outbound_redis;
use crate::telemetry::trail::Trail;
use crate::variables;

/// Handles that an instance may hold at once. A request needs about ten; the limit bounds what a loop in the guest costs the host.
pub(crate) const MAX_HANDLES: usize = 256;

/// Entries that all tables of an instance may hold. Our largest function has some thousands.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 1 << 16;

/// What one set of headers may be, in bytes: each is a handle, and the host holds it.
const MAX_FIELDS_BYTES: usize = 32 << 10;

/// The data of one store.
pub(crate) struct Sandbox {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    outbound: Outbound,
    pub(crate) memory: Ceiling,
    /// What the function may reach.
    pub(crate) grants: Arc<Grants>,
    /// The graphs that it may run outside the instance, if its build has them there.
    pub(crate) nn: Option<Session>,
    /// How many connections to Redis it may still open.
    pub(crate) redis: Arc<Semaphore>,
    // Held for its `Drop`: an instance lives as long as its store.
    _alive: Option<Alive>,
}

impl Sandbox {
    /// For one request: at most `memory_bytes` of linear memory, counted in `living`.
    pub(crate) fn new(
        wasi: WasiCtx,
        memory_bytes: usize,
        grants: &Arc<Grants>,
        living: &Arc<Living>,
    ) -> Self {
        Self {
            grants: Arc::clone(grants),
            outbound: Outbound::new(Arc::clone(grants)),
            memory: Ceiling::new(memory_bytes),
            _alive: Some(living.enter()),
            ..Self::unlimited(wasi)
        }
    }

    /// For a build, which runs our own code on our own models.
    pub(crate) fn unlimited(wasi: WasiCtx) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS_BYTES);
        Self {
            wasi,
            http,
            table,
            outbound: Outbound::new(Arc::default()),
            memory: Ceiling::new(usize::MAX),
            grants: Arc::default(),
            nn: None,
            redis: Arc::new(Semaphore::new(outbound_redis::CONNECTIONS)),
            _alive: None,
        }
    }

    /// Whether the log was told that it wanted to go where it may not.
    pub(crate) fn told(&self) -> Arc<AtomicBool> {
        self.outbound.told()
    }

    /// What its handles stand for.
    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// The function's files.
    pub(crate) fn mounts(&mut self) -> mounts::View<'_> {
        mounts::View {
            table: &mut self.table,
            mounts: self.grants.files.as_deref(),
        }
    }

    /// Whether no handle to anything of the host's is left, as it must be when memory is frozen.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.table.is_empty()
    }
}

/// Adds to `linker` all that a function may import: the `wasi:http/proxy` world, and Spin's variables.
pub(crate) fn link(linker: &mut Linker<Sandbox>) -> Result<()> {
    wasmtime_wasi_http::p2::add_to_linker_async(linker)?;
    variables::link(linker)
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.outbound,
        }
    }
}

/// What a request may hold, and holds: its linear memory, and what the host has for it. Clones count the same.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    max_bytes: usize,
    held_bytes: Arc<AtomicUsize>,
}

/// Grants linear memory up to a sum over all memories of a store, and table entries up to a sum over all its tables.
#[derive(Debug)]
pub(crate) struct Ceiling {
    account: Account,
    table_elements: usize,
    /// Who is told of every growth.
    pub(crate) trail: Trail,
    /// What was not granted first.
    pub(crate) refused: Option<Refused>,
}

/// What an instance wanted too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Memory,
    Tables,
}

impl Account {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            held_bytes: Arc::default(),
        }
    }

    /// The limit, in bytes.
    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Counts `bytes` more, if the sum stays within the limit.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let add = |held: usize| {
            let after = held.checked_add(bytes);
            after.filter(|after| *after <= self.max_bytes)
        };
        let order = Ordering::Relaxed;
        self.held_bytes.fetch_update(order, order, add).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        let less = |held: usize| Some(held.saturating_sub(bytes));
        let order = Ordering::Relaxed;
        // It always gives a value.
        let _ = self.held_bytes.fetch_update(order, order, less);
    }

    /// What is counted now.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }
}

impl Ceiling {
    fn new(max_bytes: usize) -> Self {
        Self {
            account: Account::new(max_bytes),
            table_elements: 0,
            trail: Trail::default(),
            refused: None,
        }
    }

    /// To count what the host has for the guest elsewhere.
    pub(crate) fn account(&self) -> Account {
        self.account.clone()
    }

    /// Counts `bytes` that the host takes for the guest, if they stay within the limit.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let granted = self.account.take(bytes);
        if !granted {
            self.refused.get_or_insert(Refused::Memory);
        }
        self.trail.holds(self.account.held_bytes());
        granted
    }

    /// Bytes that can still be [taken](Self::take).
    pub(crate) fn left_bytes(&self) -> usize {
        let held_bytes = self.account.held_bytes();
        self.account.max_bytes().saturating_sub(held_bytes)
    }

    /// No longer counts what was [taken](Self::take).
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.account.give_back(bytes);
    }
}

impl ResourceLimiter for Ceiling {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        // A guest's own maximum is its own limit, not ours.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.take(desired.saturating_sub(current)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        // As above; the pool's tables have a maximum of their own, which is ours.
        if maximum.is_some_and(|maximum| desired > maximum && maximum < MAX_TABLE_ELEMENTS) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current);
        let after = self.table_elements.saturating_add(more);
        let granted = after <= MAX_TABLE_ELEMENTS;
        match granted {
            true => self.table_elements = after,
            false => drop(self.refused.get_or_insert(Refused::Tables)),
        }
        Ok(granted)
    }
}

/// How many instances there are.
#[derive(Debug, Default)]
pub(crate) struct Living {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Living {
    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn enter(self: &Arc<Self>) -> Alive {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Alive(Arc::clone(self))
    }
}

struct Alive(Arc<Living>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_granted_up_to_the_sum() {
        let mut ceiling = Ceiling::new(100);
        // (current, desired, granted): two memories, the second of which asks for too much.
        let cases = [
            (0, 60, true),
            (0, 30, true),
            (30, 41, false),
            (30, 40, true),
            (60, 61, false),
        ];
        for (current, desired, granted) in cases {
            let answer = ceiling.memory_growing(current, desired, None);
            assert_eq!(answer.expect("never an error"), granted, "{desired}");
        }
        assert_eq!(ceiling.refused, Some(Refused::Memory));
        assert_eq!(ceiling.account.held_bytes(), 100);
    }

    #[test]
    fn what_the_host_takes_counts_until_it_is_given_back() {
        let mut ceiling = Ceiling::new(100);
        assert!(ceiling.take(60) && ceiling.refused.is_none());
        assert!(!ceiling.take(41) && ceiling.refused == Some(Refused::Memory));
        ceiling.give_back(20);
        assert!(ceiling.take(60) && !ceiling.take(usize::MAX));
        // What is counted elsewhere is the same sum.
        assert!(!ceiling.account().take(1));
        ceiling.give_back(10);
        assert!(ceiling.account().take(10) && ceiling.left_bytes() == 0);
    }

    #[test]
    fn a_guests_own_maximum_is_not_our_refusal() {
        let mut ceiling = Ceiling::new(100);
        let answer = ceiling.memory_growing(0, 60, Some(50));
        assert!(!answer.expect("never an error"));
        assert_eq!(ceiling.refused, None);
    }

    #[test]
    fn table_entries_are_granted_up_to_the_sum() {
        let mut ceiling = Ceiling::new(100);
        let half = MAX_TABLE_ELEMENTS / 2;
        // (current, desired, granted): two tables.
        let cases = [
            (0, half, true),
            (0, half, true),
            (half, half + 1, false),
            (0, usize::MAX, false),
        ];
        for (current, desired, granted) in cases {
            let answer = ceiling.table_growing(current, desired, None);
            assert_eq!(answer.expect("never an error"), granted, "{desired}");
        }
        assert_eq!(ceiling.refused, Some(Refused::Tables));
        assert_eq!(ceiling.account.held_bytes(), 0);
    }

    #[test]
    fn instances_are_counted_while_they_live() {
        let living = Arc::new(Living::default());
        let first = living.enter();
        drop(living.enter());
        assert_eq!((living.now(), living.most()), (1, 2));
        drop(first);
        assert_eq!((living.now(), living.most()), (0, 2));
    }
}
