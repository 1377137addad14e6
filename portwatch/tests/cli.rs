//! Runs the real command as users do, without privileges and without tracing anything, and holds
//! the documents against what it says and prints.

// Which this always is: clippy then takes the helpers for tests too.
#[cfg(test)]
mod cli {
    mod buffer;
    mod causes;
    mod counts;
    mod doctor;
    mod documents;
    mod dtrace;
    mod formats;
    mod help;
    mod manual;
    mod options;
    mod player;
    mod privileges;
    mod recording;
    mod replay;
    mod run;
    mod sample;
    mod terminal;
    mod usage;
    mod why;
}
