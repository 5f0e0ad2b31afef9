//! Where settings come from: flags, the environment, files.

use std::collections::HashMap;
use std::fmt;

use super::setting::{self, Setting};

/// Everything that is wrong with the configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Settings as texts, and what was found wrong with those read so far.
#[derive(Debug, Default)]
pub struct Source {
    pub(super) texts: HashMap<&'static str, String>,
    pub(super) problems: Vec<String>,
}

impl Source {
    /// Texts from the command line, by the setting's name; what is missing there comes from the
    /// environment.
    pub fn from_flags_and_environment(flags: HashMap<&'static str, String>) -> Self {
        let mut source = Self {
            texts: flags,
            problems: Vec::new(),
        };
        for setting in setting::ALL.iter().chain(setting::PRODUCER) {
            if !source.texts.contains_key(setting.name) {
                source.take_variable(setting.name);
                if let Some(file) = setting.file() {
                    source.take_variable(file);
                }
            }
        }
        source
    }

    fn take_variable(&mut self, name: &'static str) {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the environment"
        )]
        match std::env::var(name) {
            // An empty variable is how many deployment tools write "not set".
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
                self.texts.insert(name, text);
            }
            Err(std::env::VarError::NotPresent) => {}
            Err(std::env::VarError::NotUnicode(_)) => {
                self.problems.push(format!("{name}: is not UTF-8"))
            }
        }
    }

    /// Has the API token read from this file, whatever the environment says.
    #[must_use]
    pub fn with_token_file(mut self, path: Option<String>) -> Self {
        if let Some(path) = path {
            self.texts.remove(setting::API_TOKEN.name);
            self.texts
                .extend(setting::API_TOKEN.file().map(|file| (file, path)));
        }
        self
    }

    /// Whether a setting is given, itself or as a file.
    pub(super) fn has(&self, setting: Setting) -> bool {
        let file = setting.file();
        self.texts.contains_key(setting.name)
            || file.is_some_and(|file| self.texts.contains_key(file))
    }

    /// Reads one setting; what is wrong is kept for [`Self::finish`]. The text itself never goes
    /// into a problem, as it may hold a password.
    pub(super) fn read<T>(
        &mut self,
        setting: Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.given(setting).and_then(|(origin, text)| {
            let value = parse(&text);
            value.map_err(|what| format!("{origin}: {what}"))
        });
        match value {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// The text of a setting, and where it is from.
    fn given(&self, setting: Setting) -> Result<(String, String), String> {
        let name = setting.name;
        let file = setting
            .file()
            .and_then(|variable| Some((variable, self.texts.get(variable)?)));
        match (
            self.texts.get(name).map(String::as_str).or(setting.default),
            file,
        ) {
            (Some(_), Some((variable, _))) => {
                Err(format!("{name}, {variable}: only one of them can be given"))
            }
            (Some(text), None) => Ok((name.to_owned(), text.to_owned())),
            (None, Some((variable, path))) => {
                let text = std::fs::read_to_string(path);
                let text =
                    text.map_err(|error| format!("{variable}: can't read {path}: {error}"))?;
                Ok((format!("{variable} ({path})"), text.trim().to_owned()))
            }
            (None, None) => Err(format!(
                "{name}: is not set; give it as environment variable or as --{} {} ({})",
                setting.flag(),
                setting.value,
                setting.plain_help()
            )),
        }
    }

    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Problems> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(Problems(self.problems)),
        }
    }
}
