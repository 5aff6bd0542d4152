//! `ephemera jobs status`, `retry` and `purge`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use ephemera::jobs::inbox::Inbox;
use ephemera::jobs::streams::{admin, submit};
use serde_json::{Value, json};

use super::RedisOptions;

/// Which queue.
#[derive(Args)]
struct Which {
    /// The folder that files are dropped into.
    #[arg(long, value_name = "FOLDER")]
    inbox: Option<PathBuf>,
    #[command(flatten)]
    redis: RedisOptions,
}

impl Which {
    fn inbox(&self) -> Result<Option<Inbox>> {
        ensure!(
            self.inbox.is_some() || self.redis.is_given(),
            "expected --inbox FOLDER or --redis URL"
        );
        self.inbox.as_deref().map(Inbox::existing).transpose()
    }
}

#[derive(Args)]
pub(super) struct Status {
    #[command(flatten)]
    which: Which,
    /// Of this job alone.
    #[arg(long, value_name = "ID", conflicts_with = "batch")]
    id: Option<String>,
    /// Of this batch alone.
    #[arg(long, value_name = "NAME")]
    batch: Option<String>,
    /// Jobs that were given up, each with its reason.
    #[arg(long, conflicts_with_all = ["id", "batch"])]
    dead: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn status(options: Status) -> Result<()> {
    let told = match options.which.inbox()? {
        Some(inbox) => {
            ensure!(
                options.id.is_none() && options.batch.is_none(),
                "a folder knows no ids and no batches"
            );
            match options.dead {
                true => serde_json::to_value(inbox.failed()?)?,
                false => serde_json::to_value(inbox.overview()?)?,
            }
        }
        None => of_redis(&options).await?,
    };
    match options.json {
        true => println!("{told}"),
        false => print!("{}", lines(&told)),
    }
    Ok(())
}

async fn of_redis(options: &Status) -> Result<Value> {
    let broker = options.which.redis.connect().await?;
    if let Some(id) = &options.id {
        let mut known = serde_json::to_value(submit::known(&broker, id).await?)?;
        ensure!(known.get("state").is_some(), "no job `{id}` is known");
        // It is JSON itself.
        if let Some(report) = submit::report(&broker, id).await? {
            known["report"] = serde_json::to_value(report)?;
        }
        return Ok(known);
    }
    if let Some(batch) = &options.batch {
        return Ok(serde_json::to_value(admin::batch(&broker, batch).await?)?);
    }
    if options.dead {
        let mut letters = Vec::new();
        admin::dead(&broker, None, |letter| letters.push(json!(letter))).await?;
        return Ok(letters.into());
    }
    Ok(serde_json::to_value(admin::overview(&broker).await?)?)
}

/// A value for people: a line for each field, those of a list's item on one.
fn lines(value: &Value) -> String {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value {
                Value::Array(items) => format!("{name}: {}\n{}", items.len(), lines(value)),
                value => format!("{name}: {}\n", inline(value)),
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| format!("  {}\n", inline(item)))
            .collect(),
        value => format!("{}\n", inline(value)),
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| format!("{name} {}", inline(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    }
}

#[derive(Args)]
pub(super) struct Retry {
    #[command(flatten)]
    which: Which,
    /// This job alone: its id in Redis, its name below failed/ in a folder.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

pub(super) async fn retry(options: Retry) -> Result<()> {
    let id = options.id.as_deref();
    let count = match options.which.inbox()? {
        Some(inbox) => inbox.retry(id)?,
        None => admin::retry(&options.which.redis.connect().await?, id).await?,
    };
    println!("{count} queued again");
    Ok(())
}

#[derive(Args)]
pub(super) struct Purge {
    #[command(flatten)]
    which: Which,
    /// Jobs that were given up.
    #[arg(long)]
    dead: bool,
    /// Jobs that are finished: their reports in Redis, their originals in a folder.
    #[arg(long)]
    finished: bool,
    /// Jobs that nobody has begun, in Redis.
    #[arg(long)]
    waiting: bool,
}

pub(super) async fn purge(options: Purge) -> Result<()> {
    ensure!(
        options.dead || options.finished || options.waiting,
        "expected at least one of --dead, --finished and --waiting"
    );
    let count = match options.which.inbox()? {
        Some(inbox) => {
            ensure!(
                !options.waiting,
                "--waiting: take the files out of the folder"
            );
            inbox.purge(options.dead, options.finished)?
        }
        None => {
            let what = admin::Purge {
                dead: options.dead,
                finished: options.finished,
                waiting: options.waiting,
            };
            admin::purge(&options.which.redis.connect().await?, what).await?
        }
    };
    println!("{count} deleted");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_lines() {
        let value = json!({"dead": 2, "waiting": {"batch": 3, "interactive": 0},
            "workers": [{"name": "a-1", "running": 1}], "problem": null});
        let expected = "dead: 2\nproblem: none\nwaiting: batch 3, interactive 0\nworkers: 1\n  name a-1, running 1\n";
        assert_eq!(lines(&value), expected);
    }
}
