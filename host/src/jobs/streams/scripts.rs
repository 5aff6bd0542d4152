//! The steps of a job in Redis, each one script: all of it happens or nothing, and asked for twice it happens once.

use std::sync::LazyLock;

use redis::{Script, ToRedisArgs};

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                include_str!("lua/job.lua"),
                include_str!(concat!("lua/", $file, ".lua"))
            ))
        });
    };
}

script!(BEGIN, "begin");
script!(BURY, "bury");
script!(CLEAR, "clear");
script!(CLEAR_DELAYED, "clear_delayed");
script!(DELAY, "delay");
script!(DELIVERED, "delivered");
script!(FINISH, "finish");
script!(FORGET, "forget");
script!(PROMOTE, "promote");
script!(RELEASE, "release");
script!(RENEW, "renew");
script!(REST, "rest");
script!(RETRY, "retry");
script!(SUBMIT, "submit");

/// A script with its keys and arguments, to be asked for as often as it takes.
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn new(script: &'static Script, keys: impl IntoIterator<Item = String>) -> Self {
        Self {
            script,
            keys: keys.into_iter().collect(),
            arguments: Vec::new(),
        }
    }

    /// One more argument.
    pub(super) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.arguments.extend(argument.to_redis_args());
        self
    }

    pub(super) async fn run<T: redis::FromRedisValue>(
        &self,
        connection: &mut redis::aio::ConnectionManager,
    ) -> redis::RedisResult<T> {
        let mut invocation = self.script.prepare_invoke();
        for key in &self.keys {
            invocation.key(key);
        }
        for argument in &self.arguments {
            invocation.arg(argument);
        }
        invocation.invoke_async(connection).await
    }
}
