//! The parts together.

mod simulation;
