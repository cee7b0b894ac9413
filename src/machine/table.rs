//! Transition tables that run, and that print themselves.

use core::fmt::{self, Write};

/// One machine's table as text, for matrices and graphs.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Name of the machine.
    pub name: &'static str,
    /// Names of the states, in order of declaration.
    pub states: &'static [&'static str],
    /// One row for each input.
    pub rows: &'static [Row],
}

/// One input of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name of the input.
    pub input: &'static str,
    /// The rules it comes from, such as `6665-SSM-4`.
    pub rules: &'static str,
    /// State before and state after; a pair that is missing is refused.
    pub moves: &'static [(&'static str, &'static str)],
}

impl Row {
    /// The state that follows `from`, `None` when the input is refused there.
    pub fn target(&self, from: &str) -> Option<&'static str> {
        self.moves.iter().find(|(before, _)| *before == from).map(|(_, after)| *after)
    }
}

impl Table {
    /// Writes inputs as rows, states as columns; `.` marks a refused input.
    pub fn write_matrix(&self, out: &mut dyn Write) -> fmt::Result {
        let left = self.rows.iter().map(|row| row.input.len()).max().unwrap_or(0);
        let cell = self.states.iter().map(|state| state.len()).max().unwrap_or(0);
        write!(out, "{:left$}", self.name)?;
        for state in self.states {
            write!(out, " | {state:cell$}")?;
        }
        writeln!(out, " | rules")?;
        for row in self.rows {
            write!(out, "{:left$}", row.input)?;
            for state in self.states {
                write!(out, " | {:cell$}", row.target(state).unwrap_or("."))?;
            }
            writeln!(out, " | {}", row.rules)?;
        }
        Ok(())
    }

    /// Writes the same matrix as a Markdown table.
    pub fn write_markdown(&self, out: &mut dyn Write) -> fmt::Result {
        write!(out, "| input |")?;
        for state in self.states {
            write!(out, " {state} |")?;
        }
        write!(out, " rules |\n|---|")?;
        for _ in self.states {
            write!(out, "---|")?;
        }
        writeln!(out, "---|")?;
        for row in self.rows {
            write!(out, "| {} |", row.input)?;
            for state in self.states {
                write!(out, " {} |", row.target(state).unwrap_or("."))?;
            }
            writeln!(out, " {} |", row.rules)?;
        }
        Ok(())
    }

    /// Writes a Graphviz graph; inputs between the same two states share an edge,
    /// inputs that change nothing are left to the matrix.
    pub fn write_dot(&self, out: &mut dyn Write) -> fmt::Result {
        writeln!(out, "digraph {} {{", self.name)?;
        writeln!(out, "    rankdir=LR; node [shape=box, style=rounded];")?;
        self.for_each_edge(|from, to, inputs| {
            write!(out, "    {from} -> {to} [label=\"")?;
            join(out, inputs, "\\n")?;
            writeln!(out, "\"];")
        })?;
        writeln!(out, "}}")
    }

    /// Writes the same graph for Mermaid.
    pub fn write_mermaid(&self, out: &mut dyn Write) -> fmt::Result {
        writeln!(out, "stateDiagram-v2")?;
        if let Some(first) = self.states.first() {
            writeln!(out, "    [*] --> {first}")?;
        }
        self.for_each_edge(|from, to, inputs| {
            write!(out, "    {from} --> {to}: ")?;
            join(out, inputs, ", ")?;
            writeln!(out)
        })
    }

    fn for_each_edge(
        &self,
        mut edge: impl FnMut(&str, &str, &mut dyn Iterator<Item = &'static str>) -> fmt::Result,
    ) -> fmt::Result {
        for from in self.states {
            for to in self.states.iter().filter(|to| *to != from) {
                let mut inputs =
                    self.rows.iter().filter(|row| row.target(from) == Some(*to)).map(|row| row.input).peekable();
                if inputs.peek().is_some() {
                    edge(from, to, &mut inputs)?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_matrix(f)
    }
}

fn join(out: &mut dyn Write, words: &mut dyn Iterator<Item = &'static str>, between: &str) -> fmt::Result {
    for (n, word) in words.enumerate() {
        if n > 0 {
            out.write_str(between)?;
        }
        out.write_str(word)?;
    }
    Ok(())
}

/// Declares the inputs of a machine and what each does in each state.
///
/// A row reads `Input "rules": From | From => To, From => To;`. Two rows for
/// one cell do not compile without a warning. Yields the enum of inputs with
/// `ALL`, `State::ALL`, `apply(state, input)` and `TABLE`.
macro_rules! transitions {
    (
        machine $name:ident of $State:ident [$($state:ident),+ $(,)?];
        $(#[$meta:meta])*
        $vis:vis enum $Input:ident {
            $( $(#[$doc:meta])* $input:ident $rules:literal : $( $($from:ident)|+ => $to:ident ),+ ; )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $Input { $( $(#[$doc])* $input, )+ }

        impl $Input {
            /// Every input, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$input),+];
        }

        impl $State {
            /// Every state, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$state),+];
        }

        /// The state after `input` in `state`; `None` when it is refused there.
        pub const fn apply(state: $State, input: $Input) -> Option<$State> {
            match (input, state) {
                $( $( ($Input::$input, $( $State::$from )|+) => Some($State::$to), )+ )+
                _ => None,
            }
        }

        /// The table as text.
        pub static TABLE: $crate::machine::table::Table = $crate::machine::table::Table {
            name: stringify!($name),
            states: &[$(stringify!($state)),+],
            rows: &[$(
                $crate::machine::table::Row {
                    input: stringify!($input),
                    rules: $rules,
                    moves: &[$( $( (stringify!($from), stringify!($to)) ),+ ),+],
                }
            ),+],
        };
    };
}
