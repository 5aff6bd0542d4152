//! Steps that one pass later turn out to be parts of others.

use crate::program::{
    Element, Epilogue, Op, Outside, Padding, Pick, Pool, PoolKind, Pooled, Program, Step, ValueId,
};

/// Merges what can be merged.
pub(super) fn fuse(program: &mut Program) {
    fuse_pads(program);
    fuse_moves(program);
    fuse_tables(program);
    fuse_pools(program);
    remove_unread(program);
}

/// How many steps and outputs read each value.
fn readers(program: &Program) -> Vec<usize> {
    let mut readers = vec![0; program.values.len()];
    let read = program.steps.iter().flat_map(|step| &step.inputs);
    for value in read.chain(&program.outputs) {
        readers[*value] += 1;
    }
    readers
}

/// The step that makes each value.
fn makers(program: &Program) -> Vec<Option<usize>> {
    let mut makers = vec![None; program.values.len()];
    for (index, step) in program.steps.iter().enumerate() {
        makers[step.output] = Some(index);
    }
    makers
}

/// Puts each table that alone reads an operator's bytes into that operator.
fn fuse_tables(program: &mut Program) {
    let readers = readers(program);
    let mut makers = makers(program);
    for index in 0..program.steps.len() {
        let (before, rest) = program.steps.split_at_mut(index);
        let Op::Map(table) = &rest[0].op else {
            continue;
        };
        let input = rest[0].inputs[0];
        let Some(maker) = makers[input].filter(|_| readers[input] == 1) else {
            continue;
        };
        let Some(requant) = before[maker]
            .op
            .requant_mut()
            .filter(|requant| requant.table.is_none())
        else {
            continue;
        };
        requant.table = Some(table.clone());
        before[maker].output = rest[0].output;
        makers[rest[0].output] = Some(maker);
        rest[0].inputs.clear();
    }
    program.steps.retain(|step| !step.inputs.is_empty());
}

/// Puts each max pool that alone reads a convolution's bytes into that convolution.
fn fuse_pools(program: &mut Program) {
    let readers = readers(program);
    let makers = makers(program);
    for index in 0..program.steps.len() {
        let (before, rest) = program.steps.split_at_mut(index);
        let Op::Pool(pool) = &rest[0].op else {
            continue;
        };
        let Pool {
            kind: PoolKind::Max,
            window: Some(window),
        } = &**pool
        else {
            continue;
        };
        let input = rest[0].inputs[0];
        let Some(maker) = makers[input].filter(|_| readers[input] == 1) else {
            continue;
        };
        let Op::Conv(conv) = &mut before[maker].op else {
            continue;
        };
        // A product of matrices may have other axes than its window.
        let axes = window.kernel.len();
        let same_axes =
            conv.window.kernel.len() == axes && program.values[input].shape.len() == axes + 2;
        let bytes = matches!(conv.epilogue, Epilogue::Byte(_));
        if Pooled::takes(window)
            && same_axes
            && bytes
            && conv.spread.is_none()
            && conv.pool.is_none()
        {
            conv.pool = Some(Pooled {
                window: window.clone(),
                of: input,
            });
            before[maker].output = rest[0].output;
            rest[0].inputs.clear();
        }
    }
    program.steps.retain(|step| !step.inputs.is_empty());
}

/// Lets convolutions read across a border of zeros in front of them, instead of one that is written.
fn fuse_pads(program: &mut Program) {
    let makers = makers(program);
    for index in 0..program.steps.len() {
        let input = program.steps[index].inputs[0];
        let border = makers[input].and_then(|maker| {
            let (before, fill) = border(program, &program.steps[maker])?;
            Some((before, fill, program.steps[maker].inputs[0]))
        });
        let Some((border, fill, source)) = border else {
            continue;
        };
        let (window, zero_point) = match &mut program.steps[index].op {
            Op::Conv(conv) if conv.spread.is_none() => (&mut conv.window, conv.zero_point),
            Op::Depthwise(conv) => (&mut conv.window, conv.zero_point),
            _ => continue,
        };
        let same = f32::from(zero_point) == fill && border.len() == window.kernel.len();
        // Padding that depends on the extents, and elements apart, would have to be counted anew.
        let apart = window.spacing.iter().any(|&spacing| spacing != 1);
        let Padding::Before(before) = &mut window.padding else {
            continue;
        };
        // A window of one pixel takes its shape from the input.
        let pointwise = window.kernel.iter().all(|&extent| extent == 1);
        if same && !apart && !pointwise {
            for (before, border) in before.iter_mut().zip(&border) {
                *before += border;
            }
            program.steps[index].inputs[0] = source;
        }
    }
}

/// Makes one step of two reshapes, two transpositions, or two picks along different axes.
fn fuse_moves(program: &mut Program) {
    let makers = makers(program);
    for index in 0..program.steps.len() {
        let Some(maker) = makers[program.steps[index].inputs[0]] else {
            continue;
        };
        let op = match (&program.steps[maker].op, &program.steps[index].op) {
            (Op::Reshape, Op::Reshape) => Op::Reshape,
            (Op::Transpose(first), Op::Transpose(second)) => {
                let perm: Vec<usize> = second.iter().map(|&axis| first[axis]).collect();
                match perm.is_sorted() {
                    true => Op::Reshape,
                    false => Op::Transpose(perm),
                }
            }
            (
                Op::Pick { picks: first, fill },
                Op::Pick {
                    picks: second,
                    fill: other,
                },
            ) if fill == other => {
                let both = first.iter().zip(second).map(|pair| match pair {
                    (pick, Pick::All) | (Pick::All, pick) => Some(pick.clone()),
                    _ => None,
                });
                let Some(picks) = both.collect() else {
                    continue;
                };
                Op::Pick { picks, fill: *fill }
            }
            _ => continue,
        };
        let source = program.steps[maker].inputs[0];
        let step = &mut program.steps[index];
        (step.op, step.inputs[0]) = (op, source);
    }
}

/// The rows and columns that a step puts before the spatial axes, with nothing else, and the byte that they hold.
fn border(program: &Program, step: &Step) -> Option<(Vec<isize>, f32)> {
    let Op::Pick { picks, fill } = &step.op else {
        return None;
    };
    let [Pick::All, spatial @ .., Pick::All] = &picks[..] else {
        return None;
    };
    let [from, to] = [step.inputs[0], step.output].map(|value| &program.values[value]);
    if to.element != Element::I8 {
        return None;
    }
    let extents = from.shape[1..].iter().zip(&to.shape[1..]);
    let before = spatial.iter().zip(extents).map(|(pick, (from, to))| {
        let before = match pick {
            Pick::All => 0,
            Pick::Step {
                start,
                step: 1,
                outside: Outside::Fill,
            } if *start <= 0 => -start,
            _ => return None,
        };
        // Nothing is cut off behind.
        let behind = to.base - from.base - before;
        (from.factors == to.factors && behind >= 0).then_some(before as isize)
    });
    Some((before.collect::<Option<_>>()?, *fill))
}

/// Takes away what nobody reads.
fn remove_unread(program: &mut Program) {
    let mut read: Vec<bool> = vec![false; program.values.len()];
    let mark = |read: &mut Vec<bool>, values: &[ValueId]| {
        values.iter().for_each(|&value| read[value] = true)
    };
    mark(&mut read, &program.outputs);
    let mut kept = vec![];
    for step in std::mem::take(&mut program.steps).into_iter().rev() {
        if read[step.output] {
            mark(&mut read, &step.inputs);
            kept.push(step);
        }
    }
    kept.reverse();
    program.steps = kept;
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::kernels::Isa;
    use crate::program::Given;
    use crate::{Manifest, import, lower};

    /// The pools of convolutions as steps of their own; how many there were.
    fn take_apart(program: &mut Program) -> usize {
        let mut count = 0;
        for index in (0..program.steps.len()).rev() {
            let step = &mut program.steps[index];
            let Op::Conv(conv) = &mut step.op else {
                continue;
            };
            let Some(Pooled { window, of }) = conv.pool.take() else {
                continue;
            };
            let pool = Step {
                name: String::new(),
                op: Op::Pool(Box::new(Pool {
                    kind: PoolKind::Max,
                    window: Some(window),
                })),
                inputs: vec![of],
                output: std::mem::replace(&mut step.output, of),
            };
            program.steps.insert(index + 1, pool);
            count += 1;
        }
        count
    }

    #[test]
    fn pools_inside_convolutions_have_the_bits_of_pools_behind_them() {
        let patterns = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/patterns");
        let mut inside = vec![];
        for folder in std::fs::read_dir(patterns).expect("patterns/ is part of the sources") {
            let folder = folder.expect("a folder").path();
            let name = folder.display();
            if !name.to_string().contains("max-pool") {
                continue;
            }
            let read = |file: &str| std::fs::read(folder.join(file)).expect("a file");
            let text = String::from_utf8(read("model.toml")).expect("a text");
            let manifest = Manifest::parse(&text).expect("a manifest");
            let onnx = import::decode(&read("model.onnx")).expect("a model");
            let model = import::typed_model(&manifest, &onnx).expect("a model");
            let mut program = lower::program(&model, &manifest).expect("a program");
            let bytes = read("input.x.f32");
            let input: Vec<f32> = bytes
                .as_chunks()
                .0
                .iter()
                .copied()
                .map(f32::from_le_bytes)
                .collect();
            let run = |program: &Program, isa| {
                let given = [Given::F32(&input)];
                program.run(isa, &[], &given, &mut |_| ()).expect("a run")
            };
            let sets = Isa::available();
            let fused: Vec<_> = sets.iter().map(|&isa| run(&program, isa)).collect();
            let arena = program.arena_bytes(&[]).expect("a plan");
            let count = take_apart(&mut program);
            for (&isa, fused) in sets.iter().zip(fused) {
                assert_eq!(fused, run(&program, isa), "{name} on {}", isa.name());
            }
            assert!(arena <= program.arena_bytes(&[]).expect("a plan"), "{name}");
            if count > 0 {
                inside.push(name.to_string());
            }
        }
        assert!(
            inside.len() >= 13,
            "only {} were fused: {inside:?}",
            inside.len()
        );
    }
}
