//! The client against a repository that can be made to say anything, one module per attack; and the repository editor
//! against the client.

// The lint's exception for tests covers test functions only, not what they share.
#![allow(clippy::unwrap_used)]

mod attacks;
mod cache;
mod delegations;
mod documents;
mod fixtures;
mod mutation;
mod repository;
mod rotation;
mod server;
mod threat_model;
mod world;
