//! Steps that one pass later turn out to be parts of others.

use crate::program::{Element, Op, Outside, Padding, Pick, Program, Step, ValueId};

/// Merges what can be merged.
pub(super) fn fuse(program: &mut Program) {
    fuse_pads(program);
    fuse_moves(program);
    fuse_tables(program);
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
