//! Text in, text out: parsing and writing of SIP messages, without state.
