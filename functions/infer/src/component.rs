//! The component: the shell that all functions share, around this one.

ephemera_http::component!(crate::Infer);
