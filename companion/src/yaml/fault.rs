//! Faults in a file's syntax, in our own words and with the right line.

use serde_json::Number;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::granit_parser::ErrorKind;
use serde_saphyr::{Error, ExternalMessageSource, Location};

use super::{MAX_DEPTH, MAX_VALUES, SyntaxError};

/// What a reader's error means, and where it is.
pub(super) fn explain(error: &Error, text: &str) -> SyntaxError {
    let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
    match error {
        Error::ExternalMessage { source, msg, .. } => match source.as_ref() {
            ExternalMessageSource::Parser(error) => scanned(error.kind(), msg, line, text),
            _ => SyntaxError { line, message: msg.clone() },
        },
        Error::WithSnippet { error, .. } | Error::AliasError { error, .. } => explain(error, text),
        Error::Budget { breach, .. } => breached(breach, line, text),
        Error::MultipleDocuments { .. } => documents(text, line),
        other => SyntaxError { line, message: misused(other) },
    }
}

/// A valid YAML structure that has no place in these files.
fn misused(error: &Error) -> String {
    match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("duplicate key \"{key}\": remove one of the two, or merge them")
        }
        Error::DuplicateMappingKey { .. } => "duplicate key: remove one of the two".to_owned(),
        Error::UnknownAnchor { .. } => {
            "unknown anchor: a `*name` needs an earlier `&name`; quote a text that begins with *"
                .to_owned()
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } => {
            "`<<` merges a mapping or a list of mappings, such as `<<: *name`".to_owned()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an anchor that contains itself".to_owned()
        }
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "the anchors expand to more than a rollout can need".to_owned()
        }
        Error::Eof { .. } => "the file ends too early: a value is missing".to_owned(),
        Error::InvalidScalar { ty, .. } => {
            format!("the tag asks for a value of type {ty}, and this isn't one")
        }
        Error::TaggedScalarCannotDeserializeIntoString { .. }
        | Error::InvalidBinaryBase64 { .. }
        | Error::BinaryNotUtf8 { .. } => "unsupported tag: remove the `!…`".to_owned(),
        Error::InvalidUtf8Input => "the file isn't UTF-8 text".to_owned(),
        Error::NonFiniteFloat { value, .. } => {
            format!("{value} isn't a number here: write a finite number")
        }
        other => format!("not valid here: {other}"),
    }
}

fn breached(breach: &BudgetBreach, line: Option<u64>, text: &str) -> SyntaxError {
    let message = match breach {
        BudgetBreach::Documents { .. } => return documents(text, line),
        BudgetBreach::Depth { .. } => format!("nested more than {MAX_DEPTH} levels deep"),
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
            format!("more than {MAX_VALUES} values")
        }
        BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } => {
            "the anchors expand to more than a rollout can need".to_owned()
        }
        _ => "larger than a rollout can need".to_owned(),
    };
    SyntaxError { line, message }
}

/// More than one document. The reader doesn't always say where the second begins.
fn documents(text: &str, line: Option<u64>) -> SyntaxError {
    let mut content = false;
    let second = text.lines().position(|line| {
        let begins = line == "---" || line.starts_with("--- ");
        let found = begins && content;
        let line = line.trim();
        content |= begins || !(line.is_empty() || line.starts_with(['#', '%']));
        found
    });
    let line = second.map(|index| index as u64 + 1).or(line);
    let message = "a second document begins here (`---`): put each in a file of its own".to_owned();
    SyntaxError { line, message }
}

/// Text that isn't YAML.
fn scanned(kind: &ErrorKind, said: &str, line: Option<u64>, text: &str) -> SyntaxError {
    if let Some(tab) = line.and_then(|line| tab_indent(text, line))
        && !matches!(kind, ErrorKind::UnclosedQuotedScalar)
    {
        let message = "a tab in the indentation: YAML indents with spaces".to_owned();
        return SyntaxError { line: Some(tab), message };
    }
    let message = match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => "a tab where YAML allows only spaces",
        ErrorKind::UnclosedFlowCollection { open: '[' } => "this `[` is never closed by `]`",
        ErrorKind::UnclosedFlowCollection { .. } => "this `{` is never closed by `}`",
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            return SyntaxError { line, message: format!("`{open}` is closed by `{close}`") };
        }
        ErrorKind::MisplacedFlowCollectionEnd => "a `]` or `}` without its opening bracket",
        ErrorKind::UnclosedQuotedScalar => "this quote is never closed",
        ErrorKind::DocumentIndicatorInQuotedScalar => {
            "a quoted text that `---` or `...` breaks off"
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            "text after the closing quote: quote the whole value"
        }
        ErrorKind::UnknownQuotedScalarEscape => {
            "unknown escape in double quotes: write `\\\\` for a backslash, or use single quotes"
        }
        ErrorKind::InvalidIndentation
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::InvalidFlowScalarIndent
        | ErrorKind::InvalidBlockScalarIndent => {
            "wrong indentation: align the line with its siblings above"
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            "expected `key: value`, found a line without `:`"
        }
        ErrorKind::MappingValueNotAllowed
        | ErrorKind::InvalidColonPlacement
        | ErrorKind::MappingKeyNotAllowed => {
            "a `:` that doesn't belong here: check the indentation and the brackets above, and quote \
             texts that contain `: `"
        }
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::ExpectedBlockSequenceEntry => {
            "this line doesn't belong to the block above: check the indentation"
        }
        ErrorKind::ExpectedFlowMappingSeparator => "expected `,` or `}` here",
        ErrorKind::ExpectedFlowSequenceSeparator => "expected `,` or `]` here",
        ErrorKind::ExpectedNodeContent => "a value is missing here",
        ErrorKind::ExpectedDocumentStart => "text after the document's end",
        ErrorKind::ExpectedTagBang
        | ErrorKind::UndeclaredTagHandle
        | ErrorKind::InvalidTagTerminator
        | ErrorKind::MissingTagUri => "a tag that can't be read: quote texts that begin with `!`",
        ErrorKind::InvalidMappingValueWhitespace => "a space is missing after `:`",
        ErrorKind::FlowMappingValueAdjacentCollection => {
            "a space is missing between `:` and the bracket"
        }
        ErrorKind::BlockEntryInFlowCollection | ErrorKind::BlockSequenceEntryNotAllowed => {
            "a `- ` entry where no list is: check the indentation"
        }
        ErrorKind::InvalidBlockEntryWhitespace => "a space is missing after `-`",
        ErrorKind::CommentNotSeparated => "a space is missing before `#`",
        ErrorKind::UnexpectedCharacter { character } => {
            let shown = character.escape_default();
            let message = format!("unexpected character `{shown}`: quote texts that begin with it");
            return SyntaxError { line, message };
        }
        ErrorKind::RecursionLimitExceeded => "nested too deeply",
        ErrorKind::MissingAnchorOrAliasName => {
            "`&` or `*` without a name: quote texts that begin with it"
        }
        ErrorKind::UnknownAnchor => {
            "unknown anchor: a `*name` needs an earlier `&name`; quote a text that begins with *"
        }
        ErrorKind::MultipleDocumentsUnsupported => return documents(text, line),
        _ => said,
    };
    SyntaxError { line, message: message.to_owned() }
}

/// The first line from `line` on, or the next one, that a tab indents. The scanner complains at the
/// end of the line before.
fn tab_indent(text: &str, line: u64) -> Option<u64> {
    let first = usize::try_from(line).ok()?.saturating_sub(1);
    let indented = |line: &str| {
        let indent: &str = line.split(|c: char| c != ' ' && c != '\t').next().unwrap_or_default();
        indent.contains('\t') && indent.len() < line.len()
    };
    let found = text.lines().skip(first).take(2).position(indented)?;
    Some((first + found) as u64 + 1)
}

/// A number that isn't spelled as in JSON: other readers of YAML take it for another number, or for
/// text.
pub(super) fn odd_number(number: &Number, text: &str, at: Location) -> Option<SyntaxError> {
    let span = at.span();
    let begin = usize::try_from(span.byte_offset()?).ok()?;
    let spelled = text.get(begin..)?;
    let end = spelled.find(|c: char| c.is_whitespace() || ",]}#".contains(c));
    let spelled = spelled.get(..end.unwrap_or(spelled.len()))?;
    if serde_json::from_str::<Number>(spelled).is_ok() || spelled.starts_with(['!', '&', '"', '\''])
    {
        return None;
    }
    let value = number.as_f64().map_or_else(|| number.to_string(), |value| value.to_string());
    let message = format!(
        "{spelled} is an ambiguous number: write {value}, or \"{spelled}\" if it is a text"
    );
    Some(SyntaxError { line: Some(at.line()), message })
}
