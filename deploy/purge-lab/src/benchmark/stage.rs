//! The processes of one setting: the Internet, the control plane at two addresses, and an agent in each PoP.
//!
//! Invariant: what was started ends with this, also when something fails in the middle.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{cpu, run::Args};

/// A running setting.
pub(super) struct Stage {
    folder: PathBuf,
    pops: usize,
    agents: Vec<Child>,
    control: Child,
    internet: Option<Child>,
    api: String,
}

impl Stage {
    /// Starts everything and waits until every PoP has both of its lanes.
    pub(super) fn start(args: &Args, folder: &Path, loss: f64) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let internet = start_internet(args, folder, loss)?;
        Self::start_on(args, folder, args.pops, Some(internet))
    }

    /// The control plane alone, without an Internet, and so many PoPs on the same machine.
    pub(super) fn start_alone(args: &Args, folder: &Path, pops: usize) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        Self::start_on(args, folder, pops, None)
    }

    fn start_on(
        args: &Args,
        folder: &Path,
        pops: usize,
        internet: Option<Child>,
    ) -> anyhow::Result<Self> {
        let data = folder.join("control");
        let program = args.programs.join("tidegate-control");
        let at = |words: &[&str]| -> anyhow::Result<String> {
            let mut command = Command::new(&program);
            let output = command.args(words).arg("--data-dir").arg(&data).output();
            let output = output.with_context(|| program.display().to_string())?;
            if !output.status.success() {
                bail!("{words:?}: {}", String::from_utf8_lossy(&output.stderr));
            }
            Ok(String::from_utf8(output.stdout)?)
        };
        fs::write(folder.join("token"), at(&["token", "create", "--scope", "admin"])?)?;
        fs::write(folder.join("ca.pem"), at(&["ca", "show"])?)?;
        let ready = folder.join("ready.json");
        let host = if internet.is_some() { "0.0.0.0" } else { "127.0.0.1" };
        let mut command = inside(internet.is_some().then_some("srv"), &program);
        command
            .args(["serve", "--api", &format!("{host}:0"), "--sync", &format!("{host}:{SYNC}")])
            .arg("--data-dir")
            .arg(&data)
            .args(["--set", &format!("process.ready_file={}", ready.display())])
            .args(["--set", "process.log_level=error"])
            .args(["--set", "api.purge_rate.per_second=1000000.0"])
            .args(["--set", "api.purge_rate.burst=1000000.0"])
            .args(["--set", "sync.enrolment_rate.per_second=1000.0"])
            .args(["--set", "sync.enrolment_rate.burst=1000.0"]);
        let control = command.stdin(Stdio::null()).spawn().context("the control plane")?;
        let mut stage = Self {
            folder: folder.to_owned(),
            pops,
            agents: Vec::new(),
            control,
            internet,
            api: String::new(),
        };
        stage.api = stage.ready(&ready)?;
        if pops > 0 {
            let folder = stage.folder.display().to_string();
            stage.order(&["prepare", "--pops", &pops.to_string(), "--folder", &folder])?;
            stage.start_agents()?;
        }
        Ok(stage)
    }

    fn ready(&mut self, file: &Path) -> anyhow::Result<String> {
        let end = Instant::now() + START_MAX;
        while Instant::now() < end {
            if let Some(status) = self.control.try_wait()? {
                bail!("the control plane ended: {status}");
            }
            if let Ok(text) = fs::read_to_string(file)
                && let Ok(ready) = serde_json::from_str::<Value>(&text)
            {
                let api = ready["listeners"]["api"].as_str().context("no api listener")?;
                let port = api.rsplit(':').next().context("no port")?;
                return Ok(format!("https://localhost:{port}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the control plane is not ready after {START_MAX:?}")
    }

    /// Some at a time: handshakes of all at once starve a small machine, which is not what is measured.
    fn start_agents(&mut self) -> anyhow::Result<()> {
        for pop in 0..self.pops {
            let agent = self.start_agent(pop)?;
            self.agents.push(agent);
            if self.agents.len().is_multiple_of(STARTED_AT_ONCE) {
                self.settled(self.agents.len())?;
            }
        }
        self.settle()
    }

    fn start_agent(&self, pop: usize) -> anyhow::Result<Child> {
        let own = std::env::current_exe()?;
        let (namespace, state) = (format!("p{pop}"), self.folder.join(format!("pop-{pop}")));
        let mut command = inside(self.internet.is_some().then_some(namespace.as_str()), &own);
        command.arg("agent").arg("--state").arg(&state);
        command.arg("--ca").arg(self.folder.join("ca.pem"));
        for address in self.addresses() {
            command.args(["--endpoint", &format!("https://{address}:{SYNC}")]);
        }
        if self.internet.is_none() {
            command.arg("--journal").arg(state.join("journal"));
        }
        command.arg("--out").arg(self.seen(pop)).stdin(Stdio::piped()).stdout(Stdio::null());
        command.spawn().context("an agent")
    }

    /// Where the control plane is.
    fn addresses(&self) -> &'static [&'static str] {
        if self.internet.is_some() { &[LEADER, REPLICA] } else { &["127.0.0.1"] }
    }

    /// Waits until every PoP has all its lanes and nothing is behind.
    pub(super) fn settle(&self) -> anyhow::Result<()> {
        self.settled(self.pops)
    }

    fn settled(&self, pops: usize) -> anyhow::Result<()> {
        let lanes = self.addresses().len().to_string();
        self.order(&["settle", "--pops", &pops.to_string(), "--lanes", &lanes]).map(drop)
    }

    /// Ends the agents in order, does something, starts them again, and waits until nothing is behind. Gives back
    /// when each applied what since.
    pub(super) fn away(
        mut self,
        meanwhile: impl FnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<BTreeMap<u64, u64>>> {
        for agent in &mut self.agents {
            drop(agent.stdin.take());
            agent.wait()?;
        }
        self.agents.clear();
        meanwhile(&self)?;
        self.start_agents()?;
        self.end()
    }

    /// Orders purges, where the leader is.
    pub(super) fn order(&self, words: &[&str]) -> anyhow::Result<String> {
        let own = std::env::current_exe()?;
        let output = inside(self.internet.is_some().then_some("srv"), &own)
            .args(["order", "--api", &self.api, "--token"])
            .arg(self.folder.join("token"))
            .arg("--ca")
            .arg(self.folder.join("ca.pem"))
            .args(words)
            .output()?;
        if !output.status.success() {
            bail!("{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Orders at a steady rate, and gives back when each offset was ordered.
    pub(super) fn steady(&self, count: u64, rate: f64) -> anyhow::Result<BTreeMap<u64, u64>> {
        let out = self.folder.join("ordered");
        let (count, rate) = (count.to_string(), rate.to_string());
        let words = ["steady", "--count", &count, "--rate", &rate, "--out"];
        self.order(&[&words[..], &[out.to_str().context("a plain path")?]].concat())?;
        read_times(&out)
    }

    /// CPU seconds of the control plane and of all agents.
    pub(super) fn cpu(&self) -> anyhow::Result<(f64, f64)> {
        let mut agents = 0.0;
        for agent in &self.agents {
            agents += cpu::seconds(agent.id())?;
        }
        Ok((cpu::seconds(self.control.id())?, agents))
    }

    /// Memory of the control plane and of an agent, in MiB.
    pub(super) fn memory(&self) -> (f64, f64) {
        let agents: f64 = self.agents.iter().map(|agent| cpu::memory_mib(agent.id())).sum();
        (cpu::memory_mib(self.control.id()), agents / self.agents.len().max(1) as f64)
    }

    /// Ends the agents, and reads when each applied what.
    pub(super) fn end(mut self) -> anyhow::Result<Vec<BTreeMap<u64, u64>>> {
        for agent in &mut self.agents {
            drop(agent.stdin.take());
        }
        for (pop, agent) in self.agents.iter_mut().enumerate() {
            let status = agent.wait()?;
            if !status.success() {
                bail!("the agent of pop-{pop} failed: {status}");
            }
        }
        (0..self.pops).map(|pop| read_times(&self.seen(pop))).collect()
    }

    fn seen(&self, pop: usize) -> PathBuf {
        self.folder.join(format!("seen-{pop}"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in self.agents.iter_mut().chain([&mut self.control]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(internet) = &mut self.internet {
            // It takes its namespaces with it.
            drop(internet.stdin.take());
            let _ = internet.wait();
        }
    }
}

/// A command in a namespace, or here.
fn inside(namespace: Option<&str>, program: &Path) -> Command {
    let Some(namespace) = namespace else { return Command::new(program) };
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

fn start_internet(args: &Args, folder: &Path, loss: f64) -> anyhow::Result<Child> {
    let program = args.programs.join("tidegate-wan");
    let matrix = args.matrix.as_ref().map(|file| file.display().to_string());
    let matrix: Vec<_> = matrix.iter().flat_map(|file| ["--matrix", file]).collect();
    let places = Command::new(&program).args(&matrix).arg("places").output();
    let places = places.with_context(|| program.display().to_string())?;
    let places = String::from_utf8(places.stdout)?;
    let places: Vec<_> = places.lines().collect();
    let hosts = folder.join("hosts");
    fs::write(&hosts, hosts_of(args, &places)?)?;
    let mut internet = Command::new(&program)
        .args(&matrix)
        .args(["run", "--loss", &loss.to_string(), "--hosts"])
        .arg(&hosts)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let out = internet.stdout.take().context("piped")?;
    BufReader::new(out).read_line(&mut line)?;
    if line.trim() != "ready" {
        let _ = internet.wait();
        bail!("this machine allows no network namespaces or no TUN devices; run it as root");
    }
    Ok(internet)
}

/// Who is where. The replica's address is another one of the same process: what it sends has first come all the way
/// from the leader, as if it were a replica there.
fn hosts_of(args: &Args, places: &[&str]) -> anyhow::Result<String> {
    let (leader, replica) = (&args.leader, &args.replica);
    let mut text = format!("srv {LEADER} {leader}\nsrv {REPLICA} {replica} {leader}\n");
    let is_other = |place: &&&str| **place != leader && **place != replica;
    let others: Vec<_> = places.iter().filter(is_other).collect();
    if others.len() < args.pops {
        bail!("the matrix has places for {} PoPs", others.len());
    }
    for pop in 0..args.pops {
        // Spread over the list, so that fewer PoPs are as far apart.
        let place = others[pop * others.len() / args.pops];
        let (high, low) = ((pop + 1) / 250, (pop + 1) % 250 + 1);
        writeln!(text, "p{pop} 10.1.{high}.{low} {place}")?;
    }
    Ok(text)
}

fn read_times(path: &Path) -> anyhow::Result<BTreeMap<u64, u64>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let line = |line: &str| {
        let (offset, ns) = line.split_once(' ').context("two numbers")?;
        Ok((offset.parse()?, ns.parse()?))
    };
    text.lines().map(line).collect()
}

const LEADER: &str = "10.0.0.1";
const REPLICA: &str = "10.0.0.2";
/// Where nodes connect, inside of a namespace of its own.
const SYNC: u16 = 7444;
const STARTED_AT_ONCE: usize = 10;
const START_MAX: Duration = Duration::from_secs(60);
