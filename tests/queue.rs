//! `ephemera submit` and `ephemera jobs` on a real Redis, as people use them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::binary;
use crate::redis::Redis;
use crate::runners;

const WORD: &str = "tests/cases/ocr/single-word/request.png";

/// The binary and a Redis, or the reason why not.
fn surroundings(options: &[&str]) -> Result<Option<(Queue, Redis)>> {
    let Some(program) = binary::path() else {
        binary::skip("`ephemera` is not built: test the whole workspace")?;
        return Ok(None);
    };
    runners::artifacts();
    let redis = Redis::start(options)?;
    Ok(redis.map(|redis| (Queue::new(&program, &redis.url()), redis)))
}

struct Queue {
    program: std::path::PathBuf,
    url: String,
}

impl Queue {
    fn new(program: &Path, url: &str) -> Self {
        Self {
            program: program.to_owned(),
            url: url.to_owned(),
        }
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        Command::new(&self.program)
            .current_dir(runners::root())
            .args(arguments)
            .args(["--stream", "ocr"])
            .env("REDIS_URL", &self.url)
            .env("EPHEMERA_LOG", "info")
            .output()
            .context("running ephemera")
    }

    /// What it prints, of a command that succeeds.
    fn told(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Works until nothing is left.
    fn work(&self, more: &[&str]) -> Result<()> {
        self.told(&[&["jobs", "--no-build", "--once"], more].concat())
            .map(|_| ())
    }

    fn status(&self, more: &[&str]) -> Result<Value> {
        let told = self.told(&[&["jobs", "status", "--json"], more].concat())?;
        Ok(serde_json::from_str(&told)?)
    }
}

/// A job about the picture of one word, with more fields.
fn job(id: &str, more: &Value) -> Result<String> {
    use base64::Engine as _;
    let word = std::fs::read(runners::root().join(WORD))?;
    let inline = base64::engine::general_purpose::STANDARD.encode(word);
    let mut job = json!({"version": 1, "id": id, "function": "ocr", "input": {"inline": inline}});
    for (name, value) in more.as_object().into_iter().flatten() {
        job[name] = value.clone();
    }
    Ok(job.to_string())
}

#[test]
fn files_are_submitted_done_and_fetched() -> Result<()> {
    let Some((queue, _redis)) = surroundings(&[])? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let page = folder.path().join("page.png");
    std::fs::copy(runners::root().join(WORD), &page)?;
    let broken = folder.path().join("broken.png");
    std::fs::write(&broken, "no picture")?;
    let folder_name = folder.path().to_string_lossy();
    let submit = ["submit", &folder_name, "--batch", "b"];
    assert_eq!(queue.told(&submit)?, "2 queued\n");
    // The same again is the same.
    assert!(queue.told(&submit)?.contains("0 queued"));
    let status = queue.status(&[])?;
    assert_eq!(status["waiting"]["batch"], 2);
    queue.work(&[])?;

    let out = folder.path().join("out");
    let out_name = out.to_string_lossy();
    let waited = queue.run(&[
        "submit",
        &page.to_string_lossy(),
        "--wait",
        "--out",
        &out_name,
    ])?;
    ensure!(waited.status.success());
    assert_eq!(
        std::fs::read_to_string(out.join("page.png.txt"))?,
        "Ephemera\n"
    );
    let batch = queue.status(&["--batch", "b"])?;
    assert_eq!(
        (&batch["submitted"], &batch["stored"], &batch["failed"]),
        (&json!(2), &json!(1), &json!(1))
    );
    let dead = queue.status(&["--dead"])?;
    assert_eq!(dead.as_array().map(Vec::len), Some(1), "{dead}");
    let id = dead[0]["id"].as_str().context("an id")?;
    let known = queue.status(&["--id", id])?;
    assert_eq!(
        (&known["state"], &known["stored"]),
        (&json!("failed"), &json!("1"))
    );

    assert_eq!(queue.told(&["jobs", "retry"])?, "1 queued again\n");
    assert_eq!(queue.status(&[])?["waiting"]["batch"], 1);
    queue.work(&[])?;
    assert_eq!(queue.status(&[])?["dead"], 1, "it fails again");
    assert_eq!(queue.told(&["jobs", "purge", "--dead"])?, "1 deleted\n");
    assert_eq!(queue.told(&["jobs", "purge", "--finished"])?, "2 deleted\n");
    assert!(queue.run(&["jobs", "status", "--id", id])?.status.code() == Some(1));
    Ok(())
}

#[test]
fn replies_go_where_they_are_wanted_once() -> Result<()> {
    let Some((queue, redis)) = surroundings(&[])? else {
        return Ok(());
    };
    let add = |job: &str| redis.ask(&["xadd", "ocr", "*", "job", job]);
    // A name that is no text must not stop who reads what comes behind it.
    let odd = "return redis.call('XADD', 'ocr', '*', string.char(255), 'x')";
    redis.ask(&["eval", odd, "0"])?;
    add(&job("own", &json!({"reply": {"key": "ocr:job:own"}}))?)?;
    // Delivered three times.
    for _ in 0..3 {
        add(&job("list", &json!({"reply": {"list": "answers"}}))?)?;
    }
    add(&job(
        "key",
        &json!({"reply": {"key": "answer"}, "options": {"format": "json"}}),
    )?)?;
    add(&job("file", &json!({"reply": {"file": "a/word.txt"}}))?)?;
    add(&job("out", &json!({"reply": {"file": "link/word.txt"}}))?)?;
    add(&job("late", &json!({"deadline": 1}))?)?;
    add(&job("other", &json!({"function": "poetry"}))?)?;
    add(&job(
        "attempt",
        &json!({"attempt": 2, "input": {"file": "none.png"}}),
    )?)?;
    add("no JSON")?;
    redis.ask(&["set", "taken", "by a text"])?;
    add(&job("wrong", &json!({"reply": {"list": "taken"}}))?)?;
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::symlink("/tmp", folder.path().join("link"))?;
    let folder_name = folder.path().to_string_lossy();
    queue.work(&["--out", &folder_name, "--files", &folder_name])?;

    assert_eq!(redis.ask(&["llen", "answers"])?, "1");
    let report: Value = serde_json::from_str(&redis.ask(&["get", "answer"])?)?;
    assert_eq!(
        (&report["id"], &report["status"]),
        (&json!("key"), &json!("done"))
    );
    assert_eq!(report["answer"]["media_type"], "application/json");
    let word = std::fs::read_to_string(folder.path().join("a/word.txt"))?;
    assert_eq!(word, "Ephemera\n");
    let reasons = queue.status(&["--dead"])?;
    let reason = |id: &str| {
        let letters = reasons.as_array().into_iter().flatten();
        let mut letters = letters.filter(|letter| letter["id"] == id);
        let reason = letters.next().and_then(|letter| letter["reason"].as_str());
        reason.unwrap_or_default().to_owned()
    };
    for (id, says) in [
        ("late", "its deadline has passed"),
        ("other", "function: expected one of gait, ocr, got `poetry`"),
        ("attempt", "input.file: "),
        ("wrong", "reply: WRONGTYPE"),
        (
            "own",
            "reply: expected a key that is none of the queue's own",
        ),
        ("", "expected a field `job`"),
    ] {
        assert!(reason(id).starts_with(says), "{id}: {}", reason(id));
    }
    // A folder that leads elsewhere is not written to, however often it is tried.
    let out = queue.status(&["--id", "out"])?;
    assert_eq!(out["state"], "failed", "{out}");
    Ok(())
}

#[test]
fn once_means_until_nothing_is_left() -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let Some(program) = binary::path() else {
        return binary::skip("`ephemera` is not built: test the whole workspace");
    };
    runners::artifacts();
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("in"))?;
    // As long as names may be, and no text; the first is too long for its result.
    let names = ["x".repeat(251) + ".png", "page.png".to_owned()];
    for name in &names {
        std::fs::copy(runners::root().join(WORD), path("in").join(name))?;
    }
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
    std::fs::copy(runners::root().join(WORD), path("in").join(odd))?;
    // What was done before under the same name stays.
    std::fs::create_dir(path("out"))?;
    std::fs::write(path("out/page.png.txt"), "yesterday")?;
    // A job with an input of its own is not about the file that it happens to be called after.
    std::fs::write(path("in/page.png.job.json"), job("a", &json!({}))?)?;
    let status = Command::new(program)
        .current_dir(runners::root())
        .args(["jobs", "--no-build", "--once", "--settle-s", "1"])
        .arg("--inbox")
        .arg(path("in"))
        .arg("--out")
        .arg(path("out"))
        .status()?;
    ensure!(status.success());
    let text = |name: &std::ffi::OsStr| std::fs::read_to_string(path("out").join(name));
    assert_eq!(text("page.png.txt".as_ref())?, "yesterday");
    assert_eq!(text("page.png.1.txt".as_ref())?, "Ephemera\n");
    assert_eq!(text("page.png.2.txt".as_ref())?, "Ephemera\n");
    let result = std::ffi::OsStr::from_bytes(b"caf\xe9.png.txt");
    assert_eq!(text(result)?, "Ephemera\n");
    assert!(path("in/failed").join(&names[0]).exists());
    let left = std::fs::read_dir(path("in"))?.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        let own = ["done", "failed", "progress.json", ".ephemera"];
        (!own.iter().any(|own| name == *own)).then_some(name)
    });
    assert_eq!(left.count(), 0);
    Ok(())
}

#[test]
fn a_webhook_that_is_down_gets_its_report_later() -> Result<()> {
    let Some((queue, redis)) = surroundings(&[])? else {
        return Ok(());
    };
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let host = format!("http://{}", listener.local_addr()?);
    let hook = json!({"reply": {"webhook": format!("{host}/done")}});
    redis.ask(&["xadd", "ocr:interactive", "*", "job", &job("hook", &hook)?])?;
    let heard = std::thread::spawn(move || -> Result<Vec<String>> {
        let mut heard = Vec::new();
        // Down, and then there.
        for answer in ["503 Busy", "204 No Content"] {
            let (mut stream, _) = listener.accept()?;
            let mut asked = String::new();
            let mut some = [0; 4096];
            while !asked.ends_with('}') {
                let length = stream.read(&mut some)?;
                asked.push_str(&String::from_utf8_lossy(&some[..length]));
            }
            write!(stream, "HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n")?;
            heard.push(asked);
        }
        Ok(heard)
    });
    queue.work(&["--allow-host", &host])?;
    let heard = heard.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
    for asked in &heard {
        assert!(asked.starts_with("POST /done HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("idempotency-key: hook\r\n"), "{asked}");
        let report = asked.split("\r\n\r\n").nth(1).context("a body")?;
        let report: Value = serde_json::from_str(report)?;
        assert_eq!(report["answer"]["text"], "Ephemera\n");
    }
    let known = queue.status(&["--id", "hook"])?;
    assert_eq!(
        (&known["state"], &known["stored"]),
        (&json!("done"), &json!("1"))
    );
    // It was read once: what was tried again is the post.
    assert_eq!(known["attempts"], "1");
    Ok(())
}

#[test]
fn a_redis_without_memory_is_worked_off_and_takes_no_more() -> Result<()> {
    let Some((queue, redis)) = surroundings(&[])? else {
        return Ok(());
    };
    let set = |what: &str, value: &str| redis.ask(&["CONFIG", "SET", what, value]);
    // One is done, one is given up, one waits for its time, which is now; the report of another goes to a list.
    redis.ask(&["XADD", "ocr", "*", "job", &job("a", &json!({}))?])?;
    let list = json!({"reply": {"list": "answers"}});
    redis.ask(&["XADD", "ocr", "*", "job", &job("b", &list)?])?;
    let wrong = json!({"function": "nothing"});
    redis.ask(&["XADD", "ocr", "*", "job", &job("c", &wrong)?])?;
    redis.ask(&["XADD", "ocr", "*", "job", "no job"])?;
    redis.ask(&["ZADD", "ocr:delayed", "1", "d"])?;
    let delayed = format!("b {}", job("d", &json!({}))?);
    redis.ask(&["HSET", "ocr:delayed:jobs", "d", &delayed])?;
    // Some worker was here before.
    for stream in ["ocr", "ocr:interactive"] {
        redis.ask(&["XGROUP", "CREATE", stream, "workers", "0", "MKSTREAM"])?;
    }
    redis.ask(&["SETRANGE", "filler", "20000000", "x"])?;
    set("maxmemory", "4mb")?;
    redis.ask(&["SET", "more", "x"])?;
    assert_eq!(redis.ask(&["EXISTS", "more"])?, "0", "it is full");
    queue.work(&[])?;
    for (id, state) in [("a", "done"), ("b", "done"), ("c", "failed"), ("d", "done")] {
        let key = format!("ocr:job:{id}");
        assert_eq!(redis.ask(&["HGET", &key, "state"])?, state, "{id}");
    }
    assert_eq!(redis.ask(&["LLEN", "answers"])?, "1");
    assert_eq!(redis.ask(&["XLEN", "ocr:dead"])?, "2");
    // Whoever submits waits until there is room again.
    let mut submitting = Command::new(&queue.program)
        .current_dir(runners::root())
        .args(["submit", WORD, "--stream", "ocr"])
        .env("REDIS_URL", &queue.url)
        .env("EPHEMERA_LOG", "info")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let waited = (|| {
        let mut said = BufReader::new(submitting.stderr.take().context("its messages")?);
        let mut line = String::new();
        while !line.contains("Redis does not take it now") {
            line.clear();
            ensure!(said.read_line(&mut line)? > 0, "it did not wait");
        }
        ensure!(redis.ask(&["XLEN", "ocr"])? == "0", "it was taken");
        set("maxmemory", "0")?;
        Ok(())
    })();
    if waited.is_err() {
        // It may have ended by itself.
        let _ = submitting.kill();
    }
    let status = submitting.wait()?;
    waited?;
    ensure!(status.success(), "{status}");
    assert_eq!(redis.ask(&["XLEN", "ocr"])?, "1");
    Ok(())
}

#[test]
fn tls_and_passwords_are_minded() -> Result<()> {
    if !binary::has("openssl") && Command::new("openssl").arg("version").output().is_err() {
        return binary::skip("`openssl` is not installed");
    }
    let Some((_, redis)) = surroundings(&["--requirepass", "secret"])? else {
        return Ok(());
    };
    let program = binary::path().context("it is built")?;
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", redis.port());
    assert!(
        Queue::new(&program, &url("secret"))
            .status(&[])
            .is_ok_and(|status| status["dead"] == 0)
    );
    let refused = Queue::new(&program, &url("wr0ng")).run(&["jobs", "status"])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("authentication") && !said.contains("wr0ng"),
        "{said}"
    );
    assert_eq!(refused.status.code(), Some(1));
    drop(redis);

    let keys = tempfile::tempdir()?;
    certify(keys.path())?;
    let key = |name: &str| keys.path().join(name).to_string_lossy().into_owned();
    let plain = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let options = [
        "--tls-port",
        &plain.to_string(),
        "--tls-cert-file",
        &key("redis.pem"),
        "--tls-key-file",
        &key("redis.key"),
        "--tls-auth-clients",
        "no",
    ];
    let Some((_, _redis)) = surroundings(&options)? else {
        return Ok(());
    };
    let url = format!("rediss://localhost:{plain}");
    for (authority, trusted) in [(key("ca.pem"), true), (key("none.pem"), false)] {
        let output = Command::new(&program)
            .args(["jobs", "status", "--redis", &url])
            .env("SSL_CERT_FILE", authority)
            .current_dir(runners::root())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), trusted, "{said}");
    }
    Ok(())
}

/// An authority, and a certificate of a server at this machine.
fn certify(folder: &Path) -> Result<()> {
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost")?;
    std::fs::write(folder.join("none.pem"), "")?;
    for command in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
        "req -newkey rsa:2048 -nodes -keyout redis.key -out redis.csr -subj /CN=localhost",
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out redis.pem -days 2 -extfile names",
    ] {
        let output = Command::new("openssl")
            .args(command.split(' '))
            .current_dir(folder)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command}: {said}");
    }
    Ok(())
}
