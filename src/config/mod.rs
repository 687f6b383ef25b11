//! How TOML becomes values, and how errors in it are told. The one home of both: the process file
//! (`settings`) and the tenants' files (`apps`) are read through this room and look alike for it.
//!
//! A file is read by *asking* for its keys:
//!
//! ```
//! # use safelight::config::{Source, read};
//! let source = Source::new("greeter.toml", "Greeting = \"hello\"\n[Loop]\nTimes = 3");
//! let (greeting, times) = read(&source, |file| {
//!     let greeting = file.key("Greeting").text(str::parse::<String>).required("what to say");
//!     let times = file.section("Loop", |inner| inner.key("Times").integer().or(1));
//!     Some((greeting?, times))
//! })
//! .unwrap();
//! assert_eq!((greeting.as_str(), times), ("hello", 3));
//! ```
//!
//! Nothing stops at the first error: a wrong value is noted with its line and reading goes on, so
//! that an author sees all that is wrong at once. What nobody asked for is an unknown key; it is
//! refused with the nearest key that was asked for. So the code that reads a file is also the only
//! list of its keys, and there is no second set of "raw" types to keep in step with it.

mod asked;
mod document;
mod error;
mod given;
mod not_built;
mod public_url;
mod quantity;
mod report;
mod section;
mod text_file;

pub use asked::{Asked, Takes};
pub use document::{Override, Source, asked, read};
pub use error::{ConfigError, nearest};
pub use given::Given;
pub use not_built::{NotBuilt, When};
pub use public_url::public_base_url;
pub use quantity::{byte_size, duration, rate};
pub use report::Place;
pub use section::{Key, Section};
pub use text_file::read_text;

#[cfg(test)]
mod tests;
