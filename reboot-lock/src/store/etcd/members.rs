//! Calls to etcd's members: which are made again, and what an error says.

use etcd_client::{Client, Error, GetOptions, GetResponse, Txn, TxnResponse};

use super::super::StoreError;

/// How often a read is tried.
const READS: u32 = 3;

/// How many endpoints that cannot be reached are gone through. They are picked at random, so that the same one comes up again.
const UNREACHED: u32 = 10;

/// The members of a cluster.
#[derive(Clone)]
pub(super) struct Members {
    client: Client,
}

impl Members {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    #[cfg(test)]
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// A linearizable read (etcd's default), tried again where it fails.
    pub(super) async fn get(&self, key: String, options: Option<GetOptions>) -> Result<GetResponse, StoreError> {
        let mut attempt = 1;
        loop {
            let got = reaching(|| {
                let (mut client, key, options) = (self.client.kv_client(), key.clone(), options.clone());
                async move { client.get(key, options).await }
            });
            match got.await {
                Ok(response) => return Ok(response),
                Err(error) if attempt < READS => tracing::debug!("reading from etcd failed, trying again: {error}"),
                Err(error) => {
                    return Err(StoreError::Unavailable(format!(
                        "cannot read from etcd: {}",
                        plainly(&error)
                    )));
                }
            }
            attempt += 1;
        }
    }

    /// A transaction, made once at most.
    pub(super) async fn transact(&self, transaction: Txn) -> Result<TxnResponse, Error> {
        reaching(|| {
            let (mut client, transaction) = (self.client.kv_client(), transaction.clone());
            async move { client.txn(transaction).await }
        })
        .await
    }
}

/// Makes `call` until one reaches its endpoint. One that does not was not sent, so that making it again is not making it twice.
pub(super) async fn reaching<T, F: Future<Output = Result<T, Error>>>(mut call: impl FnMut() -> F) -> Result<T, Error> {
    let mut attempt = 1;
    loop {
        match call().await {
            Err(error) if attempt < UNREACHED && was_not_sent(&error) => {
                tracing::debug!("an endpoint of etcd cannot be reached, trying the others: {error}");
            }
            done => return done,
        }
        attempt += 1;
    }
}

/// What is behind `error`, from the outside in; the client itself does not say.
fn causes(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let outermost: Option<&(dyn std::error::Error + 'static)> = match error {
        Error::GRpcStatus(status) => Some(status),
        Error::TransportError(error) => Some(error),
        _ => None,
    };
    std::iter::successors(outermost, |error| error.source())
}

/// Whether there was no connection to send it on.
fn was_not_sent(error: &Error) -> bool {
    causes(error).any(<dyn std::error::Error>::is::<tonic::ConnectError>)
}

/// `error` for people: what was said, and the innermost cause.
pub(super) fn plainly(error: &Error) -> String {
    let said = match error {
        Error::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    };
    match causes(error).skip(1).last().map(ToString::to_string) {
        Some(cause) if !said.contains(&cause) => format!("{said}: {cause}"),
        _ => said,
    }
}
