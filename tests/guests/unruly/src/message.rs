//! The same by messages of Redis, and what a well-behaved component does there: `WHAT KEY` does something with Redis and writes what came of it
//! to the key.

use spin_sdk::redis::{Connection, RedisParameter};

// Generated: the component model's calling convention.
#[allow(unsafe_code)]
mod export {
    #[spin_sdk::redis_component]
    fn on_message(message: Vec<u8>) -> Result<(), String> {
        super::on_message(message)
    }
}

fn on_message(message: Vec<u8>) -> Result<(), String> {
    let text = String::from_utf8(message).map_err(|error| error.to_string())?;
    match text.split_once(' ') {
        Some((what, key)) => tell(key, &answer(what)),
        None => misbehave(&text),
    }
}

fn misbehave(what: &str) -> Result<(), String> {
    match what {
        "loop" => super::spin(),
        "grow" => super::grow(),
        "panic" => panic!("as asked"),
        "recurse" => drop(super::black_box(super::recurse(1))),
        "sleep" => super::sleep(),
        "exit" => std::process::exit(3),
        _ => {}
    }
    Err(format!("`{what}` is nothing that it does"))
}

fn address() -> Result<String, String> {
    spin_sdk::variables::get("redis_address").map_err(|error| error.to_string())
}

fn tell(key: &str, text: &str) -> Result<(), String> {
    let told =
        Connection::open(&address()?).and_then(|redis| redis.set(key, &text.as_bytes().to_vec()));
    told.map_err(|error| error.to_string())
}

fn answer(what: &str) -> String {
    match what {
        "tour" => tour().unwrap_or_else(|error| error),
        "many" => many().unwrap_or_else(|error| error),
        address if address.contains("://") => match Connection::open(address) {
            Ok(_) => "open".to_owned(),
            Err(error) => format!("{error:?}"),
        },
        other => other.to_owned(),
    }
}

/// One of each.
fn tour() -> Result<String, String> {
    let redis = Connection::open(&address()?).map_err(|error| format!("{error:?}"))?;
    let binary = |text: &str| RedisParameter::Binary(text.into());
    let said = [
        format!("{:?}", redis.get("tour:none")),
        format!("{:?}", redis.set("tour:text", &b"x".to_vec())),
        format!("{:?}", redis.get("tour:text")),
        format!("{:?}", redis.incr("tour:text")),
        format!("{:?}", redis.incr("tour:number")),
        format!("{:?}", redis.sadd("tour:set", &["a".into(), "b".into()])),
        format!("{:?}", redis.srem("tour:set", &["b".into()])),
        format!("{:?}", redis.smembers("tour:set")),
        format!("{:?}", redis.get("tour:set")),
        format!("{:?}", redis.publish("tour:nobody", &b"x".to_vec())),
        format!(
            "{:?}",
            redis.execute("MGET", &[binary("tour:text"), binary("tour:none")])
        ),
        format!(
            "{:?}",
            redis.execute("SET", &[binary("tour:seven"), RedisParameter::Int64(7)])
        ),
        format!("{:?}", redis.execute("monitor", &[])),
        format!("{:?}", redis.del(&["tour:text".into(), "tour:none".into()])),
    ];
    Ok(said.join("\n"))
}

/// As many connections as it gets.
fn many() -> Result<String, String> {
    let address = address()?;
    let mut held = Vec::new();
    loop {
        match Connection::open(&address) {
            Ok(connection) => held.push(connection),
            Err(error) => {
                let count = held.len();
                return Ok(format!("{count}, then {error:?}"));
            }
        }
    }
}
