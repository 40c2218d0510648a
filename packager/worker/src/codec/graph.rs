//! Filter graphs with one input and one output.
//!
//! A graph is made for one format of input; whoever feeds it another one must make another graph, because filters
//! trust the format they were made for.

use ffmpeg_next::{Error, Frame, filter, frame};

use super::sample::came_out;
use crate::{
    ffi::libav::{self, PictureFormat, SoundFormat},
    fraction::Fraction,
};

/// What pictures and sound have in common.
pub(crate) struct Graph {
    graph: filter::Graph,
}

/// Pictures in, pictures out.
pub(crate) struct PictureGraph {
    inner: Graph,
}

/// Sound in, sound out.
pub(crate) struct SoundGraph {
    inner: Graph,
}

impl Graph {
    /// A graph that makes its frames itself.
    pub(crate) fn generator(sink: &str, chain: &str) -> Result<Self, Error> {
        let mut graph = filter::Graph::new();
        add(&mut graph, sink, OUTPUT, "")?;
        graph.input(OUTPUT, 0)?.parse(&format!("{chain}[{OUTPUT}]"))?;
        graph.validate()?;
        Ok(Self { graph })
    }

    fn between(
        [source, sink]: [&str; 2],
        arguments: &str,
        chain: &str,
        threads: u32,
    ) -> Result<Self, Error> {
        let mut graph = filter::Graph::new();
        libav::set_graph_threads(&mut graph, threads);
        add(&mut graph, source, INPUT, arguments)?;
        add(&mut graph, sink, OUTPUT, "")?;
        let chain = format!("[{INPUT}]{chain}[{OUTPUT}]");
        graph.output(INPUT, 0)?.input(OUTPUT, 0)?.parse(&chain)?;
        graph.validate()?;
        Ok(Self { graph })
    }

    /// The next frame that is ready.
    pub(crate) fn pull(&mut self, frame: &mut Frame) -> Result<bool, Error> {
        let mut context = self.graph.get(OUTPUT).ok_or(Error::FilterNotFound)?;
        came_out(context.sink().frame(frame))
    }

    fn push(&mut self, frame: &Frame) -> Result<(), Error> {
        self.graph.get(INPUT).ok_or(Error::FilterNotFound)?.source().add(frame)
    }

    fn close(&mut self, end: i64) -> Result<(), Error> {
        self.graph.get(INPUT).ok_or(Error::FilterNotFound)?.source().close(end)
    }
}

impl PictureGraph {
    /// A graph for pictures of one format whose times count in `time_base`.
    pub(crate) fn new(
        format: PictureFormat,
        time_base: Fraction,
        chain: &str,
        threads: u32,
    ) -> Result<Self, Error> {
        let PictureFormat { width, height, pixel_format } = format;
        let Fraction { num, den } = time_base;
        let arguments = format!(
            "video_size={width}x{height}:pix_fmt={pixel_format}:time_base={num}/{den}:pixel_aspect=1/1"
        );
        Ok(Self { inner: Graph::between(["buffer", "buffersink"], &arguments, chain, threads)? })
    }

    /// Takes a picture; the caller's frame is empty afterwards.
    pub(crate) fn push(&mut self, picture: frame::Video) -> Result<(), Error> {
        self.inner.push(&picture)
    }

    /// No more pictures; the last one ends at `end`. Without the end a rate filter would drop the last picture.
    pub(crate) fn close(&mut self, end: i64) -> Result<(), Error> {
        self.inner.close(end)
    }

    /// The next picture that is ready.
    pub(crate) fn pull(&mut self, picture: &mut frame::Video) -> Result<bool, Error> {
        self.inner.pull(picture)
    }
}

impl SoundGraph {
    /// A graph for sound of one format whose times count in `time_base`, giving `frame_samples` at a time.
    pub(crate) fn new(
        format: &SoundFormat,
        time_base: Fraction,
        chain: &str,
        frame_samples: u32,
    ) -> Result<Self, Error> {
        let SoundFormat { sample_rate, sample_format, layout } = format;
        let Fraction { num, den } = time_base;
        let arguments = format!(
            "time_base={num}/{den}:sample_rate={sample_rate}:sample_fmt={sample_format}:channel_layout={layout}"
        );
        let mut inner = Graph::between(["abuffer", "abuffersink"], &arguments, chain, 1)?;
        let mut sink = inner.graph.get(OUTPUT).ok_or(Error::FilterNotFound)?;
        sink.sink().set_frame_size(frame_samples);
        Ok(Self { inner })
    }

    /// Takes sound; the caller's frame is empty afterwards.
    pub(crate) fn push(&mut self, sound: frame::Audio) -> Result<(), Error> {
        self.inner.push(&sound)
    }

    /// No more sound.
    pub(crate) fn close(&mut self, end: i64) -> Result<(), Error> {
        self.inner.close(end)
    }

    /// The next frame that is ready.
    pub(crate) fn pull(&mut self, sound: &mut frame::Audio) -> Result<bool, Error> {
        self.inner.pull(sound)
    }
}

fn add(graph: &mut filter::Graph, kind: &str, name: &str, arguments: &str) -> Result<(), Error> {
    let filter = filter::find(kind).ok_or(Error::FilterNotFound)?;
    graph.add(&filter, name, arguments).map(drop)
}

const INPUT: &str = "in";
const OUTPUT: &str = "out";
