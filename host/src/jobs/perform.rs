//! A task -> an answer: admission, one instance, and whether what went wrong may go right the next time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use ephemera_jobs::{Job, Urgency};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;

use super::gate::Gate;
use super::inputs::Inputs;
use super::reach::Trouble;
use crate::admission::{Admission, Budget, Hold, Priority};
use crate::app::{App, explain};
use crate::config::{FileRequests, Project, Takes};
use crate::failure::Failure;
use crate::metrics::gpu::Gpus;
use crate::metrics::work::{Phase, Work};
use crate::request_id;
use crate::run::{self, Format, Question};
use crate::telemetry::alone::Alone;
use crate::telemetry::{Telemetry, record as trail};

/// One request of a function.
#[derive(Debug)]
pub struct Task {
    function: String,
    question: Question,
    /// What the input is called, for its type.
    name: String,
    input: Bytes,
    priority: Priority,
    /// Its part of the budget.
    _held: Hold,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The function's answer.
    Answer {
        /// Its bytes.
        bytes: Bytes,
        /// Their type, as the function said.
        media_type: String,
    },
    /// The function refuses this input, and will again.
    Refused(String),
    /// It failed in a way that may pass.
    Broke(String),
}

/// Functions that take files: what each does with them, and the ceiling of its memory in bytes.
pub struct Takers(BTreeMap<String, (FileRequests, u64)>);

impl Takers {
    /// Those of `project`.
    ///
    /// # Errors
    ///
    /// There are none.
    pub fn of(project: &Project) -> Result<Self> {
        let functions = project.functions.values();
        let takers: BTreeMap<_, _> = functions
            .filter_map(|function| {
                let bytes = function.limits.memory_bytes as u64;
                Some((function.name.clone(), (function.run.clone()?, bytes)))
            })
            .collect();
        ensure!(
            !takers.is_empty(),
            "no component takes files: none has a `run` in its tool.ephemera"
        );
        Ok(Self(takers))
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// Functions that take files, and what there is to run them.
pub struct Performer {
    app: Arc<App>,
    admission: Arc<Admission>,
    gate: Gate,
    work: Arc<Work>,
    telemetry: Arc<Telemetry>,
    /// How large the last inputs were.
    inputs: Mutex<Inputs>,
    takers: BTreeMap<String, (FileRequests, u64)>,
}

impl Performer {
    /// Of `takers`, loaded as `app`, within `budget`.
    pub fn new(takers: Takers, app: Arc<App>, budget: Budget) -> Self {
        let work = Arc::new(Work::jobs());
        let admission = Arc::new(Admission::new(budget));
        app.counts_in(&admission);
        Self {
            app,
            gate: Gate::new(budget.instances as usize),
            admission,
            telemetry: Telemetry::of(Arc::clone(&work), Gpus::default()),
            work,
            inputs: Mutex::default(),
            takers: takers.0,
        }
    }

    /// Has its metrics tell of `gpus` too.
    pub fn telling_of(mut self, gpus: Gpus) -> Self {
        self.telemetry = Telemetry::of(Arc::clone(&self.work), gpus);
        self
    }

    /// Serves metrics on `address` until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// It cannot be listened on.
    pub async fn serve_metrics(&self, address: SocketAddr) -> Result<Told> {
        let (app, admission) = (Arc::clone(&self.app), Arc::clone(&self.admission));
        let telemetry = Arc::clone(&self.telemetry);
        Alone::start(address, app, admission, telemetry)
            .await
            .map(Told)
    }

    /// What is counted of jobs.
    pub(crate) fn work(&self) -> &Work {
        &self.work
    }

    /// Counts an input of so many bytes in the budget, until what is returned is dropped. Those to come are taken to be as large.
    pub(crate) fn hold(&self, bytes: usize) -> Hold {
        let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        inputs.came(bytes as u64);
        self.admission.hold(bytes as u64)
    }

    /// How many more inputs may be taken in hand at once beside `in_hand` others, whether those are here or still fetched: all fill at most
    /// half of the budget, as far as can be said before they are there.
    pub(crate) fn room_for_inputs(&self, in_hand: usize) -> usize {
        let inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        let budget_bytes = self.admission.budget().memory_bytes;
        inputs.room(budget_bytes, self.admission.load().held_bytes, in_hand)
    }

    /// What bounds how many run at once, within the budget.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Gives out at most `share` of the budget's memory from now on, of 0 to 1.
    pub(crate) fn limit(&self, share: f64) {
        self.admission.limit(share);
    }

    /// What to do with a file that says nothing of it: the first function that takes files of its kind, with the manifest's parameters and
    /// then `options`.
    ///
    /// # Errors
    ///
    /// No function takes it, or none has such a parameter.
    pub fn plain(
        &self,
        name: &str,
        input: Bytes,
        options: &BTreeMap<String, String>,
    ) -> Result<Task> {
        let takes = run::takes(Path::new(name));
        let taker = self.takers.iter().find(|(_, (run, _))| run.takes == takes);
        let (function, _) = taker.with_context(|| match takes {
            Takes::Pictures => "no function takes pictures",
            Takes::Clips => "no function takes clips",
        })?;
        self.task(function, name, input, options, Priority::Batch)
    }

    /// What `job` asks for, with `input` under this name, which says its type.
    ///
    /// # Errors
    ///
    /// A function that is not there or takes no files, an option it does not have.
    pub fn described(&self, job: &Job, name: &str, input: Bytes) -> Result<Task> {
        let priority = job.priority.into();
        self.task(&job.function, name, input, &job.options, priority)
    }

    fn task(
        &self,
        function: &str,
        name: &str,
        input: Bytes,
        options: &BTreeMap<String, String>,
        priority: Priority,
    ) -> Result<Task> {
        let (run, _) = self.takers.get(function).with_context(|| {
            let known: Vec<&str> = self.takers.keys().map(String::as_str).collect();
            format!(
                "function: expected one of {}, got `{function}`",
                known.join(", ")
            )
        })?;
        let mut parameters = Vec::new();
        let mut format = None;
        for (name, value) in options {
            match name.as_str() {
                "format" => format = Some(value.parse::<Format>()?),
                _ => parameters.push((name.clone(), value.clone())),
            }
        }
        Ok(Task {
            _held: self.hold(input.len()),
            function: function.to_owned(),
            question: Question::new(run, format, &parameters)?,
            name: name.to_owned(),
            input,
            priority,
        })
    }

    /// Runs `task` in an instance of its own, as soon as there is memory for it.
    pub async fn perform(&self, task: Task) -> Outcome {
        match self.answer(task).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Broke(format!("{error:#}")),
        }
    }

    async fn answer(&self, task: Task) -> Result<Outcome> {
        let (_, bytes) = self
            .takers
            .get(&task.function)
            .context("a known function")?;
        let target = task.question.target();
        let mut request = run::request_of(&task.name, task.input, target)?;
        let function = self.app.function(&task.function)?;
        let id = request_id::of_request(request.headers_mut());
        let ongoing = self.telemetry.begin(&mut request, &id);
        ongoing.trail.leads_to(function.shared_name());
        ongoing.trail.ranks(task.priority);
        ongoing.trail.enter(trail::Phase::Admission);
        let waiting = async {
            let inside = self.gate.enter().await;
            let slot = self.admission.slot(&task.function, *bytes, task.priority);
            slot.await.map(|slot| (slot, inside))
        };
        let _room = self.work.time("", Phase::Wait, waiting).await?;
        let running = function.handle(request);
        let response = match self.work.time("", Phase::Run, running).await {
            Ok(response) => response,
            Err(failure) => {
                ongoing.failed(&failure);
                drop(ongoing.sending(explain(&failure)));
                let cause = match &failure {
                    Failure::Function(cause) => format!("{failure}: {}", cause.root_cause()),
                    other => other.to_string(),
                };
                return Ok(Outcome::Broke(cause));
            }
        };
        // It is over when the answer is here, whatever becomes of that.
        drop(ongoing.sending(response.clone()));
        let status = response.status();
        Ok(match () {
            () if status.is_success() => {
                let media_type = response.headers().get(CONTENT_TYPE);
                let media_type = media_type.and_then(|value| value.to_str().ok());
                Outcome::Answer {
                    media_type: media_type.unwrap_or_default().to_owned(),
                    bytes: response.into_body(),
                }
            }
            () if status.is_server_error() => Outcome::Broke(run::refusal(&response)),
            () => Outcome::Refused(run::refusal(&response)),
        })
    }
}

/// What the input behind a URL is called: by its path, for its extension.
pub(crate) fn named(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// What is wrong with the URL of an input.
pub(crate) fn of_url(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Never(reason) => Trouble::Never(format!("input.url: {reason}")),
        Trouble::Later(reason) => Trouble::Later(format!("input.url: {reason}")),
    }
}

/// Metrics of a worker, served until it is dropped.
pub struct Told(Alone);

impl Told {
    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

impl From<Urgency> for Priority {
    fn from(urgency: Urgency) -> Self {
        match urgency {
            Urgency::Interactive => Self::Interactive,
            Urgency::Batch => Self::Batch,
        }
    }
}

impl Task {
    /// The extension of files that hold its answer.
    pub fn extension(&self) -> &'static str {
        self.question.extension()
    }
}
