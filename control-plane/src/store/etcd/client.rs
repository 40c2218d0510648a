//! The way to an etcd cluster: its members in turn, each call with a limit.
//!
//! A call that breaks off is made again at the next member until the limit; so every call here must be one that may be
//! made twice. Who writes learns whether it was made again, and looks what became of the first try.

use std::{
    error::Error,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{
    Config,
    wire::{
        Compare, KeyValue, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
        kv_client::KvClient,
    },
};
use crate::store::error::StoreError;

/// The cluster. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Members>);

struct Members {
    channels: Vec<Channel>,
    current: AtomicUsize,
    prefix: String,
    config: Config,
}

/// A member that is asked.
pub(super) struct Member {
    index: usize,
    pub(super) channel: Channel,
}

/// How a transaction went.
pub(super) struct Txn {
    pub(super) response: TxnResponse,
    /// Whether an earlier try broke off: it may have been carried out.
    pub(super) is_repeated: bool,
}

impl Client {
    /// The way to a cluster whose members are named as `https://host:port,…`; nothing is sent yet.
    ///
    /// # Errors
    /// An address or a file that cannot be used.
    pub fn new(members: &str, config: &Config) -> Result<Self, StoreError> {
        let channels = members
            .split(',')
            .map(|member| Ok(endpoint(member.trim(), config)?.connect_lazy()))
            .collect::<Result<Vec<_>, StoreError>>()?;
        let prefix = config.prefix.trim_end_matches('/').to_owned();
        let current = AtomicUsize::new(rand::random_range(0..channels.len()));
        Ok(Self(Arc::new(Members { channels, current, prefix, config: config.clone() })))
    }

    /// A key of ours.
    pub(super) fn key(&self, rest: &str) -> String {
        format!("{}/{rest}", self.0.prefix)
    }

    /// The member that is asked now.
    pub(super) fn member(&self) -> Member {
        let index = self.0.current.load(Ordering::Relaxed);
        Member { index, channel: self.0.channels[index].clone() }
    }

    /// Asks the next member from now on. Of several calls that fail at one member only the first turns: else they would
    /// come back to it together.
    pub(super) fn turn(&self, from: &Member) {
        let next = (from.index + 1) % self.0.channels.len();
        let order = Ordering::Relaxed;
        let _ = self.0.current.compare_exchange(from.index, next, order, order);
    }

    /// Makes a call until a member answers it; tells whether it was made more than once.
    pub(super) async fn call<T, F, A>(&self, ask: A) -> Result<(T, bool), StoreError>
    where
        A: Fn(Channel) -> F + Send + Sync,
        F: Future<Output = Result<T, Status>> + Send,
        T: Send,
    {
        let until = Instant::now() + self.0.config.give_up_after;
        let mut is_repeated = false;
        loop {
            let member = self.member();
            let asked = timeout(self.0.config.call_timeout, ask(member.channel.clone())).await;
            let status = match asked {
                Ok(Ok(answer)) => return Ok((answer, is_repeated)),
                Ok(Err(status)) if !may_pass(&status) => return Err(failed(&status)),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            self.turn(&member);
            is_repeated = true;
            if Instant::now() >= until {
                return Err(self.unreachable(&status));
            }
            sleep(RETRY_PAUSE.mul_f64(rand::random_range(0.5..1.5))).await;
        }
    }

    /// A member that does not like a certificate may close the connection before it says so: then we say what we show.
    fn unreachable(&self, status: &Status) -> StoreError {
        let StoreError::Etcd(words) = failed(status) else { return failed(status) };
        let Config { ca_file, certificate_file, .. } = &self.0.config;
        StoreError::Etcd(match (ca_file, certificate_file) {
            (None, _) => words,
            (Some(_), None) => format!("{words} (no certificate is shown to etcd)"),
            (Some(_), Some(file)) => {
                format!("{words} (the certificate shown to etcd is {})", file.display())
            }
        })
    }

    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        let ask = |channel| {
            let request = request.clone();
            async move { Ok(kv(channel).range(request).await?.into_inner()) }
        };
        Ok(self.call(ask).await?.0)
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        Ok(self.range(super::wire::get(key)).await?.kvs.into_iter().next())
    }

    pub(super) async fn txn(
        &self,
        compare: Vec<Compare>,
        success: Vec<RequestOp>,
        failure: Vec<RequestOp>,
    ) -> Result<Txn, StoreError> {
        let request = TxnRequest { compare, success, failure };
        let ask = |channel| {
            let request = request.clone();
            async move { Ok(kv(channel).txn(request).await?.into_inner()) }
        };
        let (response, is_repeated) = self.call(ask).await?;
        Ok(Txn { response, is_repeated })
    }
}

/// An answer of etcd that is no answer of ours.
pub(super) fn failed(status: &Status) -> StoreError {
    let mut words = format!("{:?}: {}", status.code(), status.message());
    // What TLS or the socket says stands in the causes alone.
    let (mut cause, mut depth) = (status.source(), 0);
    while let Some(error) = cause.filter(|_| depth < CAUSES_MAX) {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        (cause, depth) = (error.source(), depth + 1);
    }
    StoreError::Etcd(words)
}

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// Whether the same call may succeed a little later, or elsewhere.
fn may_pass(status: &Status) -> bool {
    !matches!(
        status.code(),
        Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::ResourceExhausted
    )
}

fn endpoint(member: &str, config: &Config) -> Result<Endpoint, StoreError> {
    let bad = |detail: String| StoreError::Address { address: member.to_owned(), detail };
    let endpoint = Endpoint::from_shared(member.to_owned())
        .map_err(|error| bad(error.to_string()))?
        .connect_timeout(config.call_timeout)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    if !member.starts_with("https://") {
        let is_here = endpoint
            .uri()
            .host()
            .is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
        return if is_here {
            Ok(endpoint)
        } else {
            Err(bad("only a member on this machine is reached without https".to_owned()))
        };
    }
    let ca = config.ca_file.as_ref().ok_or_else(|| bad("https needs ca_file".to_owned()))?;
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
    match (&config.certificate_file, &config.key_file) {
        (Some(certificate), Some(key)) => {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        (None, None) => {}
        _ => return Err(bad("certificate_file and key_file belong together".to_owned())),
    }
    endpoint.tls_config(tls).map_err(|error| bad(error.to_string()))
}

fn read(path: &Path) -> Result<String, StoreError> {
    fs::read_to_string(path).map_err(|source| StoreError::File { path: path.to_owned(), source })
}

/// Causes that an error names.
const CAUSES_MAX: usize = 8;
/// Between two tries of one call; longer and shorter by chance, so that replicas do not ask in step.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// After this silence a connection is pinged, and given up after as much again.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// The largest answer: a page of the largest records.
const ANSWER_BYTES_MAX: usize = 160 * 1024 * 1024;
