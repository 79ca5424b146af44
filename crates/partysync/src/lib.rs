//! partysync
