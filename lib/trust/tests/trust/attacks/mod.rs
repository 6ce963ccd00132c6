//! One module per attack. Each makes what an attacker would serve, and says what the host must do.

mod endless_data;
mod expired;
mod fast_forward;
mod freeze;
mod mix_and_match;
mod path_escape;
mod rollback;
mod skipped_root;
mod stolen_key;
mod threshold;
mod torn_state;
mod weak_signature;
mod wrong_key;
