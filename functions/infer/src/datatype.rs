//! The protocol's names of element types.

use ephemera_engine::Datatype;

/// What `metadata` and requests call it.
pub(crate) fn name(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Bool => "BOOL",
        Datatype::U8 => "UINT8",
        Datatype::U16 => "UINT16",
        Datatype::U32 => "UINT32",
        Datatype::U64 => "UINT64",
        Datatype::I8 => "INT8",
        Datatype::I16 => "INT16",
        Datatype::I32 => "INT32",
        Datatype::I64 => "INT64",
        Datatype::F16 => "FP16",
        Datatype::F32 => "FP32",
        Datatype::F64 => "FP64",
    }
}
