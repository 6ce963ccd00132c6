//! Who has logged in to the administration's page: sessions of a browser, kept in memory only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// How many sessions there are at most; one more ends the oldest.
const SESSIONS: usize = 64;

/// How long a session lasts.
const LIFETIME: Duration = Duration::from_hours(8);

/// The sessions of one listener.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Secret, Session>>);

/// The hash of a cookie: a look-up by it tells nothing about the cookie by how long it takes.
type Secret = [u8; 32];

/// One session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// As the person calls themselves.
    pub(super) operator: String,
    /// What every form of the session carries, so that no other site can send one.
    pub(super) form_key: String,
    begun: Instant,
}

impl Sessions {
    /// Begins a session; returns its cookie. `None` if the system has no random numbers.
    pub(super) fn begin(&self, operator: String, now: Instant) -> Option<String> {
        let (cookie, form_key) = (random()?, random()?);
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.lives(now));
        if sessions.len() >= SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.begun);
            if let Some(oldest) = oldest.map(|(secret, _)| *secret) {
                sessions.remove(&oldest);
            }
        }
        let session = Session {
            operator,
            form_key,
            begun: now,
        };
        sessions.insert(hash(&cookie), session);
        Some(cookie)
    }

    /// The session of `cookie`.
    pub(super) fn find(&self, cookie: &str, now: Instant) -> Option<Session> {
        let session = self.lock().get(&hash(cookie))?.clone();
        session.lives(now).then_some(session)
    }

    /// Ends the session of `cookie`.
    pub(super) fn end(&self, cookie: &str) {
        self.lock().remove(&hash(cookie));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Secret, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Whether `shown` is the key of this session's forms.
    pub(super) fn owns(&self, shown: &str) -> bool {
        hash(shown) == hash(&self.form_key)
    }

    fn lives(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) < LIFETIME
    }
}

fn hash(text: &str) -> Secret {
    Sha256::digest(text.as_bytes()).into()
}

fn random() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ends_by_logging_out_and_by_time() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let cookie = sessions.begin("alice".to_owned(), now).unwrap();
        assert_eq!(sessions.find(&cookie, now).unwrap().operator, "alice");
        assert!(sessions.find(&cookie, now + LIFETIME).is_none());
        assert!(sessions.find("", now).is_none());
        sessions.end(&cookie);
        assert!(sessions.find(&cookie, now).is_none());
    }

    #[test]
    fn oldest_session_makes_room() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let first = sessions.begin("first".to_owned(), start).unwrap();
        for n in 1..=SESSIONS as u64 {
            sessions.begin("x".to_owned(), start + Duration::from_secs(n)).unwrap();
        }
        assert!(sessions.find(&first, start).is_none());
        assert_eq!(sessions.lock().len(), SESSIONS);
    }

    #[test]
    fn form_key_is_not_the_cookie_nor_that_of_another() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let (one, two) = (
            sessions.begin("a".to_owned(), now).unwrap(),
            sessions.begin("b".to_owned(), now).unwrap(),
        );
        let session = sessions.find(&one, now).unwrap();
        assert!(session.owns(&session.form_key));
        assert!(!session.owns(&one));
        assert!(!session.owns(&sessions.find(&two, now).unwrap().form_key));
    }
}
