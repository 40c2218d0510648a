//! One ask of upstream as a task of its own: it outlives the exchange that began it, settles what the answer is to
//! everybody, and goes on as the pump of a fill.

mod run; // what upstream answers, and what becomes of it
mod parts; // slices
mod confirmed; // what is stored is still right
mod task; // what the job consists of, and whom it tells

pub use self::task::Forward;
pub(super) use self::{
    confirmed::head_request,
    task::{Confirmable, Fetched, Job},
};
