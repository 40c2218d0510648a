//! The order in which a whole system comes up: control plane, PoPs, origin, packager, DNS, then a video.
//!
//! Each program is waited for before what needs it is started. It returns only when something goes wrong: a system
//! that runs is ended by a signal.

use std::{
    fs::{self, OpenOptions},
    io::{IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde_json::json;
use tokio::process::Command;

use super::{
    READY_FILE, UpArgs, certificate,
    child::{Children, Ready, Spec},
    fleet::{self, Fleet},
    layout::{self, Layout},
    ports::Ports,
    ready::{Pop, Summary},
    settings::{Settings, port_names},
    steering::{self, POLICY, SITES, STEERED_NAME, ZONE},
    upload::{self, Origin, Video},
};

/// The PoPs and what they are; shields first, since edges ask them.
const POPS: [(&str, &str); 3] = [("shield-1", "shield"), ("pop-a", "edge"), ("pop-b", "edge")];

/// Brings everything up, then waits for the first program that ends by itself.
pub(super) async fn run(
    args: &UpArgs,
    layout: &Layout,
    children: &mut Children,
) -> anyhow::Result<()> {
    let _ = fs::remove_file(layout.file(READY_FILE));
    let names = port_names(&POPS.map(|(name, _)| name));
    let ports = Ports::choose(&layout.file("ports.json"), &names)?;
    certificate::prepare(layout)?;
    let web_root = args.web_root.as_ref().map(|path| path.canonicalize()).transpose();
    let web_root = web_root.context("the folder of --web-root")?;
    let settings =
        Settings { layout, ports: &ports, web_root: web_root.as_deref(), overrides: &args.set };

    let fleet = start_control(&settings, children).await?;
    let mut pops = Vec::new();
    for (name, role) in POPS {
        pops.push(start_pop(&settings, &fleet, children, name, role).await?);
    }
    let origin = start_origin(&settings, children).await?;
    fleet.put_property("demo", &fleet::demo_property(ports.address("origin"))).await?;
    start_packager(&settings, children).await?;
    // Last: by now the PoPs are well, and the first map is the right one.
    start_geo(&settings, &fleet, children).await?;

    let watch = |video: &str| {
        let edge = pops.iter().find(|pop| pop.role == "edge");
        edge.map(|pop| format!("https://{}/watch/{video}", pop.authority))
    };
    let video = tokio::select! {
        video = upload_clip(args, layout, &origin, watch) => video?,
        death = children.death() => bail!(death.explain()),
    };
    let watch_url = video.as_deref().and_then(watch);
    let summary = summary(&settings, &fleet, &origin, pops, watch_url, video);
    layout::replace(
        &layout.file(READY_FILE),
        &format!("{}\n", serde_json::to_string_pretty(&summary)?),
    )?;
    say(&summary.to_string());
    loop {
        let death = children.death().await;
        ensure!(args.keep_going, death.explain());
        say(&format!("{}\n", death.explain()));
    }
}

async fn start_control(settings: &Settings<'_>, children: &mut Children) -> anyhow::Result<Fleet> {
    let Settings { layout, ports, .. } = settings;
    let program = layout.program("tidegate-control")?;
    let arguments = settings.write("control", &settings.control())?;
    let state = layout.state("control");
    let in_state = async |verb: &[&str]| {
        let place = ["--data-dir".to_owned(), state.display().to_string()];
        output(&program, verb, &place).await
    };
    for scope in ["admin", "purge", "geo"] {
        let file = layout.secret(&format!("{scope}-token"));
        if !file.exists() {
            let made = in_state(&["token", "create", "--label", "dev", "--scope", scope]).await?;
            keep_secret(&file, last_word(&made)?)?;
        }
    }
    let ca_pem = in_state(&["ca", "show"]).await?;
    let ca_file = layout.secret("control-ca.pem");
    fs::write(&ca_file, &ca_pem).with_context(|| format!("cannot write {}", ca_file.display()))?;
    start(layout, children, "control", "tidegate-control", arguments, &["serve"]).await?;

    let base = format!("https://localhost:{}", ports.address("control-api").port());
    let token_file = layout.secret("admin-token");
    let context = json!({
        "current": "demo",
        "contexts": { "demo": { "server": base, "token_file": token_file, "ca": ca_file } },
    });
    layout::replace(&layout.file(CONTEXT_FILE), &toml::to_string(&context)?)?;
    Fleet::new(base, &ca_pem, read_secret(&token_file)?)
}

async fn start_pop(
    settings: &Settings<'_>,
    fleet: &Fleet,
    children: &mut Children,
    name: &str,
    role: &'static str,
) -> anyhow::Result<Pop> {
    let Settings { layout, ports, .. } = settings;
    let https = ports.address(&format!("{name}-https"));
    match steering::site(name) {
        Some(site) => {
            let port = ports.address(&format!("{}-https", SITES[0].pop)).port();
            fleet.put_resource("pop", name, &site.pop_spec(port)).await?;
        }
        None => {
            let shield = fleet::shield_pop(https, &layout.ca_certificate())?;
            fleet.put_pop(name, &shield).await?;
        }
    }
    let token = fleet.enrolment_token(name).await?;
    keep_secret(&layout.secret(&format!("{name}-enrolment-token")), &token)?;
    let arguments = settings.write(name, &settings.pop(name))?;
    let ready = start(layout, children, name, "tidegate-edge", arguments, &["serve"]).await?;
    Ok(Pop {
        name: name.to_owned(),
        role,
        authority: format!("localhost:{}", https.port()),
        http_authority: format!("localhost:{}", ports.address(&format!("{name}-http")).port()),
        admin: ready.admin,
    })
}

/// The DNS, and who steers players: both know of PoPs, zone and policy by the control plane alone.
async fn start_geo(
    settings: &Settings<'_>,
    fleet: &Fleet,
    children: &mut Children,
) -> anyhow::Result<()> {
    let Settings { layout, ports, .. } = settings;
    let program = layout.program("tidegate-geo")?;
    let port = ports.address(&format!("{}-https", SITES[0].pop)).port();
    fleet.put_resource("dns_zone", ZONE, &steering::zone(port)).await?;
    fleet.put_resource("steering_policy", POLICY, &steering::policy()).await?;
    let property = steering::property(ports.address("geo-steering"));
    fleet.put_property("steering", &property).await?;
    let state = layout.state("geo");
    fs::create_dir_all(&state).with_context(|| format!("cannot make {}", state.display()))?;
    let lines = state.join("places.txt");
    fs::write(&lines, steering::places())
        .with_context(|| format!("cannot write {}", lines.display()))?;
    let files = [lines, state.join("places.mmdb")].map(|file| file.display().to_string());
    output(&program, &["make-places"], &files).await?;
    let arguments = settings.write("geo", &settings.geo())?;
    start(layout, children, "geo", "tidegate-geo", arguments, &["serve"]).await?;
    Ok(())
}

async fn start_origin(settings: &Settings<'_>, children: &mut Children) -> anyhow::Result<Origin> {
    let Settings { layout, ports, .. } = settings;
    let program = layout.program("tidegate-origin")?;
    let packager_token = layout.secret("packager-token");
    if !packager_token.exists() {
        keep_secret(&packager_token, &hex::encode(rand::random::<[u8; 32]>()))?;
    }
    let arguments = settings.write("origin", &settings.origin())?;
    let token_file = layout.secret("api-token");
    if !token_file.exists() {
        let tokens = layout.secret("origin-tokens").display().to_string();
        let place = ["--file".to_owned(), tokens];
        let made = output(&program, &["token", "create", "--name", "demo"], &place).await?;
        keep_secret(&token_file, last_word(&made)?)?;
    }
    start(layout, children, "origin", "tidegate-origin", arguments, &["serve"]).await?;
    Ok(Origin {
        client: reqwest::Client::new(),
        base: format!("http://{}", ports.address("origin")),
        token: read_secret(&token_file)?,
    })
}

async fn start_packager(settings: &Settings<'_>, children: &mut Children) -> anyhow::Result<()> {
    let layout = settings.layout;
    layout.program(WORKER)?;
    let arguments = settings.write("packager", &settings.packager())?;
    start(layout, children, "packager", "tidegate-packager", arguments, &[]).await?;
    Ok(())
}

async fn start(
    layout: &Layout,
    children: &mut Children,
    name: &str,
    program: &str,
    arguments: Vec<String>,
    verb: &[&str],
) -> anyhow::Result<Ready> {
    let spec = Spec {
        name: name.to_owned(),
        program: layout.program(program)?,
        arguments: verb
            .iter()
            .map(Into::into)
            .chain(arguments.into_iter().map(Into::into))
            .collect(),
        log: layout.log(name),
        ready_file: layout.ready(name),
    };
    let ready = children.start(spec).await?;
    say(&format!("{name} runs\n"));
    Ok(ready)
}

/// Uploads the clip (or finds it uploaded) and follows it until all of it is made.
async fn upload_clip(
    args: &UpArgs,
    layout: &Layout,
    origin: &Origin,
    watch: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<String>> {
    if args.no_clip {
        return Ok(None);
    }
    let worker = layout.program(WORKER)?;
    let clip = match &args.video {
        Some(own) => own.clone(),
        None => upload::generated(&worker, layout, args.clip_seconds).await?,
    };
    ensure!(clip.is_file(), "{} is not a file", clip.display());
    let video = origin.video_of(&clip, &layout.file("video.json")).await?;
    let mut is_playable = false;
    let done = origin.follow(&video, VIDEO_TIME_MAX, |view| {
        show(view);
        if view.state == "playable" && !is_playable {
            is_playable = true;
            let url = watch(&video).unwrap_or_default();
            say(&format!("\nit can be watched while the rest is made: {url}\n"));
        }
    });
    let done = done.await;
    say("\n");
    done?;
    Ok(Some(video))
}

fn summary(
    settings: &Settings<'_>,
    fleet: &Fleet,
    origin: &Origin,
    pops: Vec<Pop>,
    watch_url: Option<String>,
    video: Option<String>,
) -> Summary {
    let Settings { layout, ports, .. } = settings;
    Summary {
        dns: ports.address("geo-dns"),
        dns_name: STEERED_NAME.to_owned(),
        dns_clients: SITES.iter().map(|site| site.client_subnet().to_owned()).collect(),
        steering_url: settings.steering_url(),
        watch_url,
        ca_cert: layout.ca_certificate(),
        origin: origin.base.clone(),
        upload_url: format!("{}/upload", origin.base),
        api_token_file: layout.secret("api-token"),
        control_plane: fleet.base.clone(),
        cli_context: layout.file(CONTEXT_FILE),
        hls_path: video.as_ref().map(|video| format!("/v/{video}/main.m3u8")),
        dash_path: video.as_ref().map(|video| format!("/v/{video}/manifest.mpd")),
        video_id: video,
        pops,
    }
}

/// Runs one of the programs for its output alone.
async fn output(program: &Path, verb: &[&str], arguments: &[String]) -> anyhow::Result<String> {
    let ran = Command::new(program)
        .args(verb)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(
        ran.status.success(),
        "{} {} failed: {}",
        program.display(),
        verb.join(" "),
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8(ran.stdout).context("a program printed something that is no text")
}

/// The token in what a program printed: its last word, whatever stands around it.
fn last_word(text: &str) -> anyhow::Result<&str> {
    text.split_whitespace().last().context("a program printed no token")
}

fn keep_secret(path: &Path, secret: &str) -> anyhow::Result<()> {
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        writeln!(file, "{secret}")
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn read_secret(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path);
    Ok(text.with_context(|| format!("cannot read {}", path.display()))?.trim().to_owned())
}

fn show(video: &Video) {
    let percent = video.progress_permille / 10;
    let begin = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "\n" };
    say(&format!("{begin}video: {} {percent} %", video.state));
}

/// Messages are for people and go to stderr; a closed terminal is no reason to fail.
fn say(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

const CONTEXT_FILE: &str = "tidegate.toml";
const WORKER: &str = "tidegate-packager-worker";
/// A long video of the person's own on a slow machine.
const VIDEO_TIME_MAX: Duration = Duration::from_secs(4 * 3600);
