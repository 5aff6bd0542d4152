//! A component that does what its request's query says, and answers with what came of it: what a manifest grants, seen from inside.
//!
//! `?read=PATH` a file's text, `?list=PATH` a folder's names, `?write=PATH` tries to write, `?env=NAME`, `?ask=URL` a request's status and
//! body, `?set=KEY=VALUE`, `?get=KEY`, `?keys`, `?headers` the `spin-*` headers. What fails is
//! answered by 500 and the reason.
#![cfg(target_family = "wasm")]
// Generated: the component model's calling convention.
#![allow(unsafe_code)]

use spin_sdk::http::{Method, Request, Response, send};
use spin_sdk::http_component;
use spin_sdk::key_value::Store;

#[http_component]
async fn handle(request: Request) -> Response {
    let (status, body) = match answer(&request).await {
        Ok(body) => (200, body),
        Err(why) => (500, why),
    };
    Response::builder().status(status).body(body).build()
}

async fn answer(request: &Request) -> Result<String, String> {
    let (what, of) = request
        .query()
        .split_once('=')
        .unwrap_or((request.query(), ""));
    match what {
        "read" => std::fs::read_to_string(of).map_err(|error| error.to_string()),
        "list" => list(of).map_err(|error| error.to_string()),
        "write" => {
            std::fs::write(of, "x").map_err(|error| error.to_string())?;
            Ok("written".to_owned())
        }
        "env" => std::env::var(of).map_err(|error| error.to_string()),
        "ask" => ask(of).await,
        "set" => {
            let (key, value) = of.split_once('=').unwrap_or((of, ""));
            let set = store()?.set(key, value.as_bytes());
            set.map_err(|error| format!("{error:?}"))?;
            Ok("set".to_owned())
        }
        "get" => {
            let value = store()?.get(of).map_err(|error| format!("{error:?}"))?;
            let value = value.ok_or("none")?;
            Ok(String::from_utf8_lossy(&value).into_owned())
        }
        "keys" => {
            let keys = store()?.get_keys().map_err(|error| format!("{error:?}"))?;
            Ok(keys.join(" "))
        }
        "store" => {
            let opened = Store::open(of).map_err(|error| format!("{error:?}"))?;
            drop(opened);
            Ok("open".to_owned())
        }
        "headers" => Ok(headers(request)),
        other => Err(format!("`{other}` is nothing to do")),
    }
}

fn list(path: &str) -> std::io::Result<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
        names.push(format!("{}{slash}", entry.file_name().to_string_lossy()));
    }
    names.sort();
    Ok(names.join(" "))
}

async fn ask(url: &str) -> Result<String, String> {
    let request = Request::builder().method(Method::Get).uri(url).build();
    let answer: Response = send(request).await.map_err(|error| format!("{error:?}"))?;
    let body = String::from_utf8_lossy(answer.body()).into_owned();
    Ok(format!("{} {body}", answer.status()))
}

fn store() -> Result<Store, String> {
    Store::open_default().map_err(|error| format!("{error:?}"))
}

fn headers(request: &Request) -> String {
    let spins = request
        .headers()
        .filter(|(name, _)| name.starts_with("spin-"));
    let lines = spins.map(|(name, value)| format!("{name}: {}", value.as_str().unwrap_or("?")));
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines.join("\n")
}
