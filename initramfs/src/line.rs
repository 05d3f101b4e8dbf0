//! A line of the console in pieces, each with a tone: what a screen shows as colour and a serial line leaves out (pure).

/// How a piece of text is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// What the node is called, and the row that is about itself.
    Own,
    /// What is good to know and always the same.
    Faint,
    /// How busy processors are.
    Cool,
    Warm,
    Hot,
    /// What keeps the node from its work.
    Wrong,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line(Vec<(Tone, String)>);

impl Line {
    /// A line of one tone.
    pub(crate) fn new(tone: Tone, text: impl Into<String>) -> Line {
        Line(vec![(tone, text.into())])
    }

    /// The same line, which goes on with this.
    pub(crate) fn and(mut self, tone: Tone, text: impl Into<String>) -> Line {
        self.0.push((tone, text.into()));
        self
    }

    /// What it says.
    pub(crate) fn text(&self) -> String {
        let text: String = self.0.iter().map(|(_, piece)| piece.as_str()).collect();
        text.trim_end().to_owned()
    }

    /// Each character with its tone.
    pub(crate) fn characters(&self) -> impl Iterator<Item = (Tone, char)> {
        let pieces = self.0.iter();
        pieces.flat_map(|(tone, piece)| piece.chars().map(|character| (*tone, character)))
    }
}
