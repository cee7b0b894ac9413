//! Snapshots, restarts, standbys and records of single objects.

mod basics;
mod damage;
mod flows;
mod records;
mod restarts;
mod standby;
mod world;
