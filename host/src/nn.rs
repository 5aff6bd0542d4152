//! Named graphs run outside the guest: `models/<name>` + tensors -> tensors, on a device of this machine.
//!
//! ```text
//! wasi.rs      wasi:nn calls  -> Registry -> Devices      what a guest may ask, and what it costs
//! border.rs    wasi:nn tensor -> Tensor, and back
//! registry.rs  name           -> graph                    those that the function's manifest entry lists
//! devices.rs   --device       -> Devices                  which device runs a graph, and how many runs there are
//! abandoned.rs runs that nobody waits for any more
//! device.rs    what runs a named graph once, and why it may not
//! cpu.rs       the processor: our engine, natively
//! gpu.rs       GPUs, each behind a process that holds it
//! ```
//!
//! The graphs of a [`Device`](device::Device) are the one thing that is resident between requests, and only where an operator has asked for
//! a device.

mod abandoned;
mod border;
pub mod cpu;
pub mod device;
pub mod devices;
pub mod gpu;
pub mod registry;
pub(crate) mod wasi;

use hyper::Response;
use hyper::header::{HeaderName, HeaderValue};

/// The header that says where an answer's models ran.
const DEVICE: HeaderName = HeaderName::from_static("x-ephemera-device");

/// Says in `answer` which device its models ran on; without one it was the instance itself.
pub(crate) fn tell<B>(mut answer: Response<B>, device: Option<String>) -> Response<B> {
    let device = device.as_deref().unwrap_or("guest");
    if let Ok(value) = HeaderValue::from_str(device) {
        // What the guest says of it is replaced.
        answer.headers_mut().insert(DEVICE, value);
    }
    answer
}
