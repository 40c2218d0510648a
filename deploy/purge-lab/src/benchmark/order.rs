//! Whoever orders purges: at a steady rate, or as many as the API takes. It writes down when each was called for.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::agent::KEY;

/// What is ordered.
#[derive(clap::Args)]
pub struct Args {
    /// The API, as https://localhost:port
    #[arg(long)]
    api: String,
    /// The file with the token
    #[arg(long)]
    token: PathBuf,
    /// The authority of the control plane
    #[arg(long)]
    ca: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make PoPs pop-0 and so on, and write a token for each into its folder
    Prepare {
        #[arg(long)]
        pops: usize,
        #[arg(long)]
        folder: PathBuf,
    },
    /// Wait until every PoP has so many lanes and nothing is behind
    Settle {
        #[arg(long)]
        pops: usize,
        #[arg(long)]
        lanes: u64,
        #[arg(long, default_value_t = 180)]
        limit_s: u64,
    },
    /// Order purges at a rate, and write offset and time of each into a file
    Steady {
        #[arg(long)]
        count: u64,
        #[arg(long)]
        rate: f64,
        #[arg(long)]
        out: PathBuf,
    },
    /// Order so many, as fast as the API takes them
    Many {
        #[arg(long)]
        count: u64,
        #[arg(long, default_value_t = 256)]
        at_once: u64,
    },
    /// Order as many as the API takes, and print how many that were a second
    Flood {
        #[arg(long)]
        seconds: u64,
        #[arg(long, default_value_t = 256)]
        at_once: usize,
    },
}

/// Orders.
///
/// # Errors
/// The API refuses something, or the limit is over.
pub fn run(args: Args) -> anyhow::Result<()> {
    tidegate_chassis::init_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let caller = Caller::new(&args)?;
        match args.what {
            What::Prepare { pops, folder } => caller.prepare(pops, &folder).await,
            What::Settle { pops, lanes, limit_s } => caller.settle(pops, lanes, limit_s).await,
            What::Steady { count, rate, out } => caller.steady(count, rate, &out).await,
            What::Many { count, at_once } => caller.many(count, at_once).await,
            What::Flood { seconds, at_once } => caller.flood(seconds, at_once).await,
        }
    })
}

#[derive(Clone)]
struct Caller {
    http: reqwest::Client,
    api: String,
    token: String,
}

impl Caller {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let ca = reqwest::Certificate::from_pem(&fs::read(&args.ca)?)?;
        let http = reqwest::Client::builder().tls_certs_only([ca]).build()?;
        let token = fs::read_to_string(&args.token)?.trim().to_owned();
        Ok(Self { http, api: args.api.clone(), token })
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.api);
        let request = self.http.request(method.parse()?, url).bearer_auth(&self.token);
        let request = if body.is_null() { request } else { request.json(body) };
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{method} {path}: {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| text)
    }

    async fn purge(&self) -> anyhow::Result<u64> {
        let answer = self.call("POST", "/v1/purges", &json!({"kind": "key", "key": KEY})).await?;
        answer["offset"].as_u64().context("no offset")
    }

    async fn prepare(&self, pops: usize, folder: &Path) -> anyhow::Result<()> {
        for pop in 0..pops {
            self.call("PUT", &format!("/v1/pops/pop-{pop}"), &json!({"role": "edge"})).await?;
            let path = format!("/v1/pops/pop-{pop}/enrolment-tokens");
            let token = self.call("POST", &path, &Value::Null).await?;
            let state = folder.join(format!("pop-{pop}"));
            fs::create_dir_all(&state)?;
            fs::write(state.join("token"), token["token"].as_str().context("no token")?)?;
        }
        Ok(())
    }

    async fn settle(&self, pops: usize, lanes: u64, limit_s: u64) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(limit_s);
        loop {
            let lag = self.call("GET", "/v1/purges/lag", &Value::Null).await?;
            let items = lag["items"].as_array().context("no items")?;
            let is_settled =
                |item: &&Value| item["lag"] == 0 && item["subscriptions"].as_u64() == Some(lanes);
            let settled = items.iter().filter(is_settled).count();
            if settled >= pops {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("only {settled} of {pops} PoPs are there after {limit_s} s");
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn steady(&self, count: u64, rate: f64, out: &Path) -> anyhow::Result<()> {
        let ordered: Arc<Mutex<BTreeMap<u64, u128>>> = Arc::default();
        let mut tick = interval(Duration::from_secs_f64(1.0 / rate));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..count {
            tick.tick().await;
            let (caller, ordered) = (self.clone(), Arc::clone(&ordered));
            calls.spawn(async move {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
                let offset = caller.purge().await?;
                ordered.lock().unwrap_or_else(PoisonError::into_inner).insert(offset, now);
                anyhow::Ok(())
            });
        }
        while let Some(called) = calls.join_next().await {
            called??;
        }
        let mut text = String::new();
        for (offset, ns) in ordered.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            writeln!(text, "{offset} {ns}")?;
        }
        fs::write(out, text)?;
        Ok(())
    }

    async fn many(&self, count: u64, at_once: u64) -> anyhow::Result<()> {
        let mut callers = tokio::task::JoinSet::new();
        for number in 0..at_once {
            let caller = self.clone();
            let own = count / at_once + u64::from(number < count % at_once);
            callers.spawn(async move {
                for _ in 0..own {
                    caller.purge().await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(called) = callers.join_next().await {
            called??;
        }
        Ok(())
    }

    async fn flood(&self, seconds: u64, at_once: usize) -> anyhow::Result<()> {
        let total = Arc::new(AtomicU64::new(0));
        let end = Instant::now() + Duration::from_secs(seconds);
        let began = Instant::now();
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..at_once {
            let (caller, total) = (self.clone(), Arc::clone(&total));
            callers.spawn(async move {
                while Instant::now() < end {
                    caller.purge().await?;
                    total.fetch_add(1, Relaxed);
                }
                anyhow::Ok(())
            });
        }
        while let Some(called) = callers.join_next().await {
            called??;
        }
        let rate = total.load(Relaxed) as f64 / began.elapsed().as_secs_f64();
        std::io::Write::write_all(&mut std::io::stdout(), format!("{rate:.0}\n").as_bytes())?;
        Ok(())
    }
}
