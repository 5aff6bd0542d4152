//! `fermyon:spin/inbound-redis`: a message is a job, its report goes where its `reply` says.
//!
//! The report of a job that was done is stored once. A second delivery finds that out before it does anything; two at the same time both
//! work, and one stores. A report of a failure gives way to that of the next delivery. A message that is no job is answered by a report that
//! says so where the message has an id, else by an error to the trigger.

use std::path::Path;

use ephemera_http::{Function, shell};

use super::folders::Folders;
use super::store::{Place, Store};
use super::{Chosen, FUNCTION, fetch, now_s, performer};
use crate::perform::Outside;
use crate::{Job, Reply, Report};

// Generated: the component model's calling convention.
#[allow(unsafe_code)]
mod export {
    #[::spin_sdk::redis_component]
    fn on_message(message: Vec<u8>) -> Result<(), String> {
        super::on_message(message)
    }
}

/// What a component of this trigger has: files, if the manifest mounts some, and the hosts that it allows.
struct World(Folders);

impl Outside for World {
    fn now_s(&self) -> u64 {
        now_s()
    }

    fn file(&mut self, path: &Path, limit_bytes: usize) -> Result<Vec<u8>, String> {
        self.0.read(path, limit_bytes)
    }

    fn url(&mut self, url: &str, limit_bytes: usize) -> Result<Vec<u8>, String> {
        fetch::get(url, limit_bytes)
    }
}

fn on_message(message: Vec<u8>) -> Result<(), String> {
    let function = FUNCTION.get().ok_or("models are not loaded")?;
    let mut world = World(Folders::opened());
    let job = match Job::parse(&message) {
        Ok(job) => job,
        Err(error) => {
            let job = Job::salvage(&message).ok_or_else(|| error.to_string())?;
            eprintln!("job {}: {error}", job.id);
            let report = Report::failed(&job, &error.to_string(), 1, now_s());
            return reply(&job, &report, &world);
        }
    };
    // A large input is in it once more.
    drop(message);
    if is_done(&job, &world)? {
        eprintln!("job {}: delivered again, its report is stored", job.id);
        return Ok(());
    }
    let performer = performer(function, shell::settings::<Chosen>())?;
    let mut log = |line: &str| eprintln!("{}: {line}", Chosen::NAME);
    let report = performer.perform(&job, &mut world, &mut log);
    reply(&job, &report, &world)
}

/// Where in Redis the report of `job` goes, if it goes there.
fn place(job: &Job) -> Option<Place<'_>> {
    match &job.reply {
        None => Some(Place::Own),
        Some(Reply::Key(key)) => Some(Place::Key(key)),
        Some(Reply::List(list)) => Some(Place::List(list)),
        Some(Reply::File(_) | Reply::Webhook(_)) => None,
    }
}

/// Whether an earlier delivery was done. Who takes webhooks tells by the job's id.
fn is_done(job: &Job, world: &World) -> Result<bool, String> {
    match (&job.reply, place(job)) {
        (_, Some(place)) => Store::open()?.has(place, &job.id),
        (Some(Reply::File(file)), None) => Ok(world.0.has(file)),
        (_, None) => Ok(false),
    }
}

/// Puts `report` where it is wanted. What does not take it there is told to the trigger, and the report goes to the key of jobs without a
/// reply.
fn reply(job: &Job, report: &Report, world: &World) -> Result<(), String> {
    let own = || put(Place::Own, report);
    let sent = match (&job.reply, place(job)) {
        (None, _) => return own(),
        (_, Some(place)) => put(place, report).map_err(|why| format!("reply: {why}")),
        (Some(Reply::Webhook(url)), _) => {
            let headers = [
                ("content-type", "application/json"),
                ("idempotency-key", job.id.as_str()),
            ];
            let posted = fetch::post(url, &headers, &report.json());
            posted.map_err(|why| format!("reply.webhook: {why}"))
        }
        (Some(Reply::File(file)), _) => match &report.answer {
            None => return own(),
            Some(answer) => answer
                .bytes()
                .map_err(|error| error.to_string())
                .and_then(|bytes| world.0.write(file, &bytes))
                .map_err(|why| format!("reply.file: {why}")),
        },
        (_, None) => Ok(()),
    };
    match sent {
        Ok(()) => Ok(()),
        Err(why) => {
            own()?;
            Err(format!("job {}: {why}; its report is in Redis", job.id))
        }
    }
}

fn put(place: Place<'_>, report: &Report) -> Result<(), String> {
    if !Store::open()?.put(place, report)? {
        eprintln!("job {}: its report was stored before", report.id);
    }
    Ok(())
}
