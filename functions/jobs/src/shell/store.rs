//! Reports in Redis, each stored once however often its job is delivered.

use spin_sdk::redis::{Connection, Error, RedisParameter, RedisResult};

/// How long a report that nobody named a key for is kept, and how long it is known that one was added to a list, in seconds: 7 days.
const KEEP_S: i64 = 7 * 24 * 3600;

/// Adds to the list `KEYS[2]` unless `KEYS[1]` says that it was done.
const PUSH_ONCE: &str = "if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[2]) then \
     return redis.call('RPUSH', KEYS[2], ARGV[1]) end return 0";

/// Where reports go.
pub(super) enum Place<'j> {
    /// The key of jobs without a reply, by the job's id.
    Own(&'j str),
    /// A key that the job names.
    Key(&'j str),
    /// A list that the job names, and the job's id.
    List(&'j str, &'j str),
}

impl Place<'_> {
    /// The key that is there once a report is stored.
    fn key(&self) -> String {
        match self {
            Self::Own(id) => format!("ephemera:report:{id}"),
            Self::Key(key) => (*key).to_owned(),
            Self::List(_, id) => format!("ephemera:stored:{id}"),
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

    /// Whether a report was stored there before.
    ///
    /// # Errors
    /// Redis does not answer.
    pub(super) fn has(&self, place: &Place<'_>) -> Result<bool, String> {
        let answer = self.ask("EXISTS", &[text(&place.key())])?;
        Ok(matches!(answer.first(), Some(RedisResult::Int64(1..))))
    }

    /// Stores `report` unless one is there. Returns whether it did.
    ///
    /// # Errors
    /// Redis does not answer, or the key is of another type.
    pub(super) fn put(&self, place: &Place<'_>, report: Vec<u8>) -> Result<bool, String> {
        let key = place.key();
        let report = RedisParameter::Binary(report);
        let answer = match place {
            Place::Own(_) => {
                let keep = [text("NX"), text("EX"), RedisParameter::Int64(KEEP_S)];
                let [nx, ex, seconds] = keep;
                self.ask("SET", &[text(&key), report, nx, ex, seconds])?
            }
            Place::Key(_) => self.ask("SET", &[text(&key), report, text("NX")])?,
            Place::List(list, _) => {
                let keys = [RedisParameter::Int64(2), text(&key), text(list)];
                let [count, marker, list] = keys;
                let seconds = RedisParameter::Int64(KEEP_S);
                let all = [text(PUSH_ONCE), count, marker, list, report, seconds];
                self.ask("EVAL", &all)?
            }
        };
        Ok(match answer.first() {
            Some(RedisResult::Status(_)) => true,
            Some(RedisResult::Int64(length)) => *length > 0,
            _ => false,
        })
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
