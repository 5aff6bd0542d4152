//! Reports in Redis: that of a job that was done is stored once, however often the job is delivered. One that failed is no obstacle to the
//! next delivery.

use ephemera_http::Function;
use spin_sdk::redis::{Connection, Error, RedisParameter, RedisResult};

use super::Chosen;
use crate::{Report, Status};

/// How long a report that nobody named a key for is kept, and how long it is known that one was added to a list, in seconds: 7 days.
const KEEP_S: i64 = 7 * 24 * 3600;

/// Sets `KEYS[1]` to `ARGV[1]`, for `ARGV[4]` seconds if that is more than none, unless what is there begins with `ARGV[3]`. What does not
/// even begin with `ARGV[2]` is somebody else's, and stays. Returns 1, 0 or -1.
const SET_ONCE: &str = "local there = redis.call('GETRANGE', KEYS[1], 0, #ARGV[3] - 1) \
     if there == ARGV[3] then return 0 end \
     if there ~= '' and string.sub(there, 1, #ARGV[2]) ~= ARGV[2] then return -1 end \
     if ARGV[4] == '0' then redis.call('SET', KEYS[1], ARGV[1]) \
     else redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[4]) end return 1";

/// Adds `ARGV[1]` to the list `KEYS[2]` unless `KEYS[1]` is there, which is then made for `ARGV[2]` seconds if that is more than none. In
/// this order, because a list that is none ends the script.
const PUSH_ONCE: &str = "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end \
     redis.call('RPUSH', KEYS[2], ARGV[1]) \
     if ARGV[2] ~= '0' then redis.call('SET', KEYS[1], '1', 'EX', ARGV[2]) end return 1";

/// Where reports go.
#[derive(Clone, Copy)]
pub(super) enum Place<'j> {
    /// The key of jobs without a reply.
    Own,
    /// A key that the job names.
    Key(&'j str),
    /// A list that the job names.
    List(&'j str),
}

impl Place<'_> {
    /// The key that tells whether the job `id` was done. Jobs of other functions have their own.
    fn key(&self, id: &str) -> String {
        match self {
            Self::Own => format!("ephemera:report:{}:{id}", Chosen::NAME),
            Self::Key(key) => (*key).to_owned(),
            Self::List(_) => format!("ephemera:stored:{}:{id}", Chosen::NAME),
        }
    }
}

/// A connection to Redis.
pub(super) struct Store(Connection);

impl Store {
    /// Connects to the server that the variable `redis_address` names.
    ///
    /// # Errors
    /// No such variable, an address that is not allowed, no server there.
    pub(super) fn open() -> Result<Self, String> {
        let address = spin_sdk::variables::get("redis_address");
        let address = address.map_err(|error| format!("variable redis_address: {error}"))?;
        let connection = Connection::open(&address);
        Ok(Self(
            connection.map_err(|error| told("connecting", &error))?,
        ))
    }

    /// Whether the job `id` was done before, and its report is or was in `place`.
    ///
    /// # Errors
    /// Redis does not answer.
    pub(super) fn has(&self, place: Place<'_>, id: &str) -> Result<bool, String> {
        let key = text(&place.key(id));
        if let Place::List(_) = place {
            let answer = self.ask("EXISTS", &[key])?;
            return Ok(matches!(answer.first(), Some(RedisResult::Int64(1))));
        }
        let begins = Report::done_begins(id, Chosen::NAME);
        let last = i64::try_from(begins.len()).unwrap_or(i64::MAX) - 1;
        let range = [key, RedisParameter::Int64(0), RedisParameter::Int64(last)];
        match self.0.execute("GETRANGE", &range) {
            Ok(answer) => Ok(matches!(
                answer.first(),
                Some(RedisResult::Binary(there)) if there == begins.as_bytes()
            )),
            // Something else is there.
            Err(Error::TypeError) => Ok(false),
            Err(Error::Other(why)) if why.contains("WRONGTYPE") => Ok(false),
            Err(error) => Err(told("GETRANGE", &error)),
        }
    }

    /// Stores `report` unless one of the same job is there that says that it was done. Returns whether it did.
    ///
    /// # Errors
    /// Redis does not answer, or something else than a report of the job is there.
    pub(super) fn put(&self, place: Place<'_>, report: &Report) -> Result<bool, String> {
        let key = text(&place.key(&report.id));
        let json = RedisParameter::Binary(report.json());
        let keep_s = match (place, report.status) {
            (Place::Own, _) | (Place::List(_), Status::Done) => KEEP_S,
            // That it failed is nothing to be remembered of a list.
            (Place::Key(_), _) | (Place::List(_), Status::Failed) => 0,
        };
        let keep_s = RedisParameter::Int64(keep_s);
        let count = RedisParameter::Int64;
        let parts = if let Place::List(list) = place {
            vec![text(PUSH_ONCE), count(2), key, text(list), json, keep_s]
        } else {
            let begins = text(&Report::begins(&report.id));
            let done = text(&Report::done_begins(&report.id, Chosen::NAME));
            vec![text(SET_ONCE), count(1), key, json, begins, done, keep_s]
        };
        match self.ask("EVAL", &parts)?.first() {
            Some(RedisResult::Int64(-1)) => Err("something else is there".to_owned()),
            answer => Ok(matches!(answer, Some(RedisResult::Int64(1)))),
        }
    }

    fn ask(&self, command: &str, arguments: &[RedisParameter]) -> Result<Vec<RedisResult>, String> {
        let answer = self.0.execute(command, arguments);
        answer.map_err(|error| told(command, &error))
    }
}

fn text(text: &str) -> RedisParameter {
    RedisParameter::Binary(text.as_bytes().to_vec())
}

fn told(what: &str, error: &Error) -> String {
    format!("redis: {what}: {error}")
}
