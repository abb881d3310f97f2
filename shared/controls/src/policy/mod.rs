//! Policy documents, those of resources and those of identities: read once, judged by who is let in ([`who`]) and by what
//! they may do ([`what`]), and cut so that what stays keeps its bytes ([`document`]).

pub mod document;
pub mod what;
pub mod who;
