//! Bodies of data files: JSON or a form whose texts name slots.
//!
//! A member, an item or a field that is nothing but a slot without a value is left out, and so is what has lost
//! everything that way: what is not known is not sent. `"$if"` keeps an object only where its text is not empty,
//! `"$each": "details"` makes one of an object of every line, which is `{line}`.

use std::borrow::Cow;

use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value};

use super::text::{Slot, Texts};
use crate::domain::template::{Part, Template, TemplateError};
use crate::notify::render::URL_PART;

/// A JSON body.
pub(super) struct Json(Node);

enum Node {
    Fixed(Value),
    Text(Template<Slot>),
    Object { condition: Option<Template<Slot>>, each_line: bool, members: Vec<(String, Node)> },
    List(Vec<Node>),
}

impl Json {
    pub(super) fn read(value: &Value) -> Result<Self, TemplateError> {
        Node::read(value).map(Self)
    }

    pub(super) fn render(&self, texts: &Texts<'_>) -> String {
        self.0.render(texts, "").unwrap_or(Value::Null).to_string()
    }
}

impl Node {
    fn read(value: &Value) -> Result<Self, TemplateError> {
        Ok(match value {
            Value::String(text) => {
                let template = Template::parse_with(text, &Slot::read)?;
                if template.has_placeholders() { Self::Text(template) } else { Self::Fixed(value.clone()) }
            }
            Value::Array(items) if !items.is_empty() => {
                Self::List(items.iter().map(Self::read).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) if !fields.is_empty() => {
                let condition = fields.get("$if").and_then(Value::as_str);
                let condition = condition.map(|text| Template::parse_with(text, &Slot::read)).transpose()?;
                let members = fields.iter().filter(|(key, _)| !matches!(key.as_str(), "$if" | "$each"));
                let members = members.map(|(key, value)| Ok((key.clone(), Self::read(value)?)));
                let members = members.collect::<Result<_, TemplateError>>()?;
                Self::Object { condition, each_line: fields.contains_key("$each"), members }
            }
            fixed => Self::Fixed(fixed.clone()),
        })
    }

    /// `None`: to be left out.
    fn render(&self, texts: &Texts<'_>, line: &str) -> Option<Value> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Text(template) => match template.parts.as_slice() {
                [Part::Value(slot)] => lone(slot, texts, line),
                _ => Some(fill(template, texts, line).into()),
            },
            Self::Object { condition: Some(condition), .. } if fill(condition, texts, line).is_empty() => None,
            Self::Object { members, .. } => {
                let rendered = members.iter().filter_map(|(key, node)| Some((key.clone(), node.render(texts, line)?)));
                let rendered: Map<String, Value> = rendered.collect();
                (!rendered.is_empty()).then_some(Value::Object(rendered))
            }
            Self::List(items) => {
                let mut rendered = Vec::new();
                for item in items {
                    match item {
                        Self::Object { each_line: true, .. } => {
                            rendered.extend(texts.detail_lines().iter().filter_map(|line| item.render(texts, line)));
                        }
                        item => rendered.extend(item.render(texts, line)),
                    }
                }
                (!rendered.is_empty()).then_some(Value::Array(rendered))
            }
        }
    }
}

/// A slot in the place of a value: a number stays one.
fn lone(slot: &Slot, texts: &Texts<'_>, line: &str) -> Option<Value> {
    match slot {
        Slot::Map(name) => match texts.mapped(name)? {
            Mapped::Fixed(value) => Some(value.clone()),
            Mapped::Text(template) => match template.parts.as_slice() {
                [Part::Value(slot)] => lone(slot, texts, line),
                _ => filled(fill(template, texts, line)),
            },
        },
        Slot::Option(name) if texts.is_number(name) => texts.value(slot, line).parse::<i64>().ok().map(Value::from),
        slot => filled(texts.value(slot, line).into_owned()),
    }
}

fn filled(text: String) -> Option<Value> {
    (!text.is_empty()).then(|| text.into())
}

fn fill(template: &Template<Slot>, texts: &Texts<'_>, line: &str) -> String {
    template.render(|slot| texts.value(slot, line))
}

/// A value that depends on the message.
pub(super) enum Mapped {
    Fixed(Value),
    Text(Template<Slot>),
}

impl Mapped {
    pub(super) fn read(value: &Value) -> Result<Self, TemplateError> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::parse_with(text, &Slot::read)?),
            fixed => Self::Fixed(fixed.clone()),
        })
    }
}

/// The fields of a form.
pub(super) struct Form(Vec<(String, Template<Slot>)>);

impl Form {
    pub(super) fn read(value: &Value) -> Result<Self, TemplateError> {
        let not_texts = || TemplateError::NotJson { reason: "the fields of a form are texts".to_owned() };
        let fields = value.as_object().ok_or_else(not_texts)?;
        let read = |(name, value): (&String, &Value)| {
            let text = value.as_str().ok_or_else(not_texts)?;
            Ok((name.clone(), Template::parse_with(text, &Slot::read)?))
        };
        fields.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn render(&self, texts: &Texts<'_>) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, URL_PART).to_string();
        let fields = self.0.iter().map(|(name, template)| (name, fill(template, texts, "")));
        let fields = fields.filter(|(_, value)| !value.is_empty());
        fields.map(|(name, value)| format!("{}={}", encoded(name), encoded(&value))).collect::<Vec<_>>().join("&")
    }
}

/// What a map says, as text.
pub(super) fn mapped_text<'t>(mapped: &Mapped, texts: &'t Texts<'_>) -> Cow<'t, str> {
    match mapped {
        Mapped::Fixed(Value::String(text)) => text.clone().into(),
        Mapped::Fixed(value) => value.to_string().into(),
        Mapped::Text(template) => fill(template, texts, "").into(),
    }
}
