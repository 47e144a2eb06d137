//! How long files, functions and docstrings are.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::source::{RustFile, attributes, is_test_only};

/// The most lines of a file, without its tests.
const FILE_LINES: usize = 400;
/// The most lines of a function, from its signature to its closing brace.
const FUNCTION_LINES: usize = 70;
/// A docstring of this many words or fewer says nothing that the name doesn't.
const DOC_WORDS: usize = 3;

/// Files with more than 400 lines, not counting test modules. Test files are not counted.
pub fn long_files(sources: &[RustFile]) -> Vec<String> {
    let long = |source: &&RustFile| !source.is_test() && lines_without_tests(source) > FILE_LINES;
    let name = |source: &RustFile| {
        format!(
            "{}: {} lines without tests, at most {FILE_LINES}",
            source.path,
            lines_without_tests(source)
        )
    };
    sources.iter().filter(long).map(name).collect()
}

fn lines_without_tests(source: &RustFile) -> usize {
    let tests = source.syntax.items.iter().filter(|item| is_test_only(attributes(item)));
    let lines = |span: proc_macro2::Span| span.end().line + 1 - span.start().line;
    let test_lines: usize = tests.map(|item| lines(item.span())).sum();
    source.text.lines().count().saturating_sub(test_lines)
}

/// Functions with more than 70 lines. Tests are not counted: many are tables of cases.
pub fn long_functions(sources: &[RustFile]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let mut visitor = Functions { path: &source.path, found: &mut found };
        visitor.visit_file(&source.syntax);
    }
    found
}

struct Functions<'a> {
    path: &'a str,
    found: &'a mut Vec<String>,
}

impl Functions<'_> {
    fn check(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        let lines = block.span().end().line + 1 - first;
        if lines > FUNCTION_LINES {
            let name = &signature.ident;
            self.found.push(format!(
                "{}:{first}: {name} has {lines} lines, at most {FUNCTION_LINES}",
                self.path
            ));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.check(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.check(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}

/// Docstrings of three words or fewer. Help texts of the command line don't count: a short one is a good one.
pub fn short_docstrings(sources: &[RustFile]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let mut docs = Docs {
            path: &source.path,
            found: &mut found,
            line: 0,
            doc_words: 0,
            text: String::new(),
        };
        docs.visit_file(&source.syntax);
        docs.finish();
    }
    found
}

/// Gathers the lines of a docstring, each of which is an attribute of its own.
struct Docs<'a> {
    path: &'a str,
    found: &'a mut Vec<String>,
    line: usize,
    doc_words: usize,
    text: String,
}

impl Docs<'_> {
    fn finish(&mut self) {
        if self.doc_words > 0 && self.doc_words <= DOC_WORDS {
            self.found.push(format!(
                "{}:{}: the docstring \"{}\" says too little",
                self.path, self.line, self.text
            ));
        }
        (self.doc_words, self.text) = (0, String::new());
    }
}

/// Whether clap makes help texts out of the docstrings of a type's fields or variants.
fn is_command_line(attributes: &[syn::Attribute]) -> bool {
    let clap = |word: &str| matches!(word, "Args" | "Parser" | "Subcommand" | "ValueEnum");
    attributes.iter().filter(|attribute| attribute.path().is_ident("derive")).any(|derive| {
        let syn::Meta::List(list) = &derive.meta else { return false };
        list.tokens.to_string().split(|c: char| !c.is_alphanumeric()).any(clap)
    })
}

impl<'ast> Visit<'ast> for Docs<'_> {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        if is_command_line(&item.attrs) {
            item.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
        } else {
            visit::visit_item_struct(self, item);
        }
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        if is_command_line(&item.attrs) {
            item.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
        } else {
            visit::visit_item_enum(self, item);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let syn::Meta::NameValue(pair) = &attribute.meta else { return };
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else {
            return;
        };
        if !pair.path.is_ident("doc") {
            return;
        }
        let line = attribute.span().start().line;
        if line != self.line + 1 {
            self.finish();
        }
        self.line = line;
        self.doc_words += text.value().split_whitespace().count();
        self.text.push_str(text.value().trim());
    }
}
