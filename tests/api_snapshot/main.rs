//! Snapshots, restarts, standbys and records of single objects.

mod basics;
mod world;
