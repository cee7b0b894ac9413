//! Hostile and odd messages, each with the one right verdict; and floods of
//! exceptional elements in the manner of PROTOS.
//!
//! Covers: PEER-I02, PEER-I03, PEER-I05, PEER-I07, PEER-I08, PEER-B08, PEER-B12, PEER-B13, ADV-E3, ADV-E4, ADV-E6,
//! ADV-E7, ADV-E20, ADV-E21, ADV-E22, ADV-P1, ADV-P2, ADV-P3, ADV-P6, ADV-P7, ADV-P8, ADV-P12, ADV-P13, ADV-P14, ADV-P15,
//! ADV-P16, ADV-P17, ADV-P18, ADV-P19, ADV-P20

mod corpus;
mod exceptional;
mod live;
mod verdicts;
