//! The gates that need a look at the host, in the order in which they refuse.

use jiff::Timestamp;

use super::{Closed, Gates, Observed};

/// All gates that need a look at the host.
///
/// # Errors
/// The first that refuses.
pub fn on(gates: &Gates, observed: &Observed, now: Timestamp) -> Result<(), Closed> {
    marker(observed, now)?;
    min_uptime(gates, observed)?;
    users(gates, observed)?;
    inhibitors(gates, observed)?;
    healthy(gates, observed)?;
    scripts(observed)
}

fn marker(observed: &Observed, now: Timestamp) -> Result<(), Closed> {
    let counts = |until: Option<Timestamp>| until.is_none_or(|until| now < until);
    let Some(marker) = observed.markers.iter().find(|marker| counts(marker.until)) else {
        return Ok(());
    };
    let until = marker
        .until
        .map_or_else(|| "until it is removed".to_owned(), |until| format!("until {until}"));
    let reason = if marker.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", marker.reason)
    };
    Err(Closed::new(
        "marker",
        format!("{} forbids a reboot {until}{reason}", marker.path.display()),
    ))
}

fn min_uptime(gates: &Gates, observed: &Observed) -> Result<(), Closed> {
    match gates.min_uptime.checked_sub(observed.uptime) {
        Some(rest) if !rest.is_zero() => {
            let text = format!(
                "the host has been up for {} of at least {} minutes",
                observed.uptime.as_secs() / 60,
                gates.min_uptime.as_secs().div_ceil(60)
            );
            Err(Closed::new("min-uptime", text).until(rest))
        }
        _ => Ok(()),
    }
}

fn users(gates: &Gates, observed: &Observed) -> Result<(), Closed> {
    if !gates.users {
        return Ok(());
    }
    match &observed.users {
        Ok(users) if users.is_empty() => Ok(()),
        Ok(users) => Err(Closed::new("users", format!("logged in: {}", users.join(", ")))),
        Err(why) => Err(Closed::new(
            "gate-unknown",
            format!("cannot tell who is logged in: {why}"),
        )),
    }
}

fn inhibitors(gates: &Gates, observed: &Observed) -> Result<(), Closed> {
    if !gates.inhibitors {
        return Ok(());
    }
    match &observed.inhibitors {
        Ok(list) => match list.first() {
            None => Ok(()),
            Some(first) => {
                let others = match list.len() - 1 {
                    0 => String::new(),
                    count => format!(", and {count} more"),
                };
                let text = format!("{} inhibits a shutdown: {}{others}", first.who, first.why);
                Err(Closed::new("inhibited", text))
            }
        },
        Err(why) => Err(Closed::new(
            "gate-unknown",
            format!("cannot tell whether a shutdown is inhibited: {why}"),
        )),
    }
}

fn healthy(gates: &Gates, observed: &Observed) -> Result<(), Closed> {
    if !gates.healthy || observed.unhealthy.is_empty() {
        return Ok(());
    }
    let text = format!("the host is not healthy: {}", observed.unhealthy.join("; "));
    Err(Closed::new("unhealthy", text))
}

fn scripts(observed: &Observed) -> Result<(), Closed> {
    if observed.scripts.is_empty() {
        return Ok(());
    }
    Err(Closed::new("gate-script", observed.scripts.join("; ")))
}
