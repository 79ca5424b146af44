//! Turns a compiled worker into the folder of modules that workerd and Cloudflare run.
//!
//! `partysync-bundle <worker.wasm> <out> <DurableObject>...` writes into the folder `out`, which must be new, empty
//! or of its own making:
//! - `index.js`: the entry, with the worker's handlers and the named Durable Object classes;
//! - `worker.js`, `worker_bg.wasm` and `snippets/`: what wasm-bindgen makes of the worker;
//! - `modules.capnp`: the list of these modules, for a workerd configuration to import.
//!
//! There is no bundler: each module is loaded by its name.

use std::{
    env,
    error::Error,
    ffi::OsString,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use wasm_bindgen_cli_support::Bindgen;

const USAGE: &str = "usage: partysync-bundle <worker.wasm> <out> <DurableObject>...";
const STEM: &str = "worker";
const ENTRY: &str = "index.js";
const LIST: &str = "modules.capnp";

/// The entry, but for the lines that export the classes.
///
/// After a trap (stack overflow, say, or a panic where it does not unwind) three things are left to do here.
/// Calls under way in the old memory would hang for ever, as what ran them is gone: they are made to fail.
/// The sockets whose messages these calls were are closed, since nothing else would tell their clients that there is no answer.
/// And wasm-bindgen starts the worker anew, in fresh memory, at the next call: objects of the old memory must not be
/// touched any more, so each class keeps what its object was made from, and makes another when the worker's
/// generation has changed. Asking for the generation is what starts the worker anew.
const ENTRY_HEAD: &str = r#"import { DurableObject } from "cloudflare:workers";
import * as worker from "./worker.js";

const generation = () => worker.__worker_init_state().instanceId;

const isTrap = (error) => error instanceof WebAssembly.RuntimeError;
const underWay = new Set();

function failOnTrap(start) {
  let call;
  try {
    call = start();
  } catch (error) {
    failAll(error);
    throw error;
  }
  if (!(call instanceof Promise)) return call;
  return new Promise((resolve, reject) => {
    underWay.add(reject);
    call.then(resolve, reject).finally(() => underWay.delete(reject));
  });
}

function failAll(error) {
  if (!isTrap(error)) return;
  for (const reject of underWay) reject(error);
  underWay.clear();
}

addEventListener("error", ({ error }) => failAll(error));

function durableObject(Inner, events) {
  class Outer extends DurableObject {
    #inner;
    #generation;

    constructor(ctx, env) {
      super(ctx, env);
      this.#live();
    }

    #live() {
      const now = generation();
      if (this.#generation !== now) {
        this.#inner = new Inner(this.ctx, this.env);
        this.#generation = now;
      }
      return this.#inner;
    }

    static {
      for (const event of events) {
        if (!(event in Inner.prototype)) continue;
        this.prototype[event] = function (...args) {
          const fail = (error) => {
            if (event === "webSocketMessage" && isTrap(error)) args[0].close(1011, "The server failed.");
            throw error;
          };
          try {
            const call = failOnTrap(() => this.#live()[event](...args));
            return call instanceof Promise ? call.catch(fail) : call;
          } catch (error) {
            return fail(error);
          }
        };
      }
    }
  }
  return Outer;
}

const objectEvents = ["fetch", "alarm", "webSocketMessage", "webSocketClose", "webSocketError"];
const workerEvents = ["fetch", "scheduled", "queue", "email"];

export default Object.fromEntries(
  workerEvents
    .filter((event) => event in worker)
    .map((event) => [event, (...args) => failOnTrap(() => worker[event](...args))]),
);
"#;

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let (Some(wasm), Some(out)) = (args.next(), args.next()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Ok(classes) = args.map(OsString::into_string).collect::<Result<Vec<_>, _>>() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match bundle(Path::new(&wasm), Path::new(&out), &classes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("partysync-bundle: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn bundle(wasm: &Path, out: &Path, classes: &[String]) -> Result<(), Box<dyn Error>> {
    clear(out)?;
    bind(wasm, out)?;
    fs::write(out.join(ENTRY), entry(classes)?)?;
    let modules = module_list(&modules_in(out)?)?;
    fs::write(out.join(LIST), modules)?;
    Ok(())
}

/// Empties `out` if an earlier run made it, so that no module outlives the code it came from. The list, which
/// tells, is there from the start: a run that fails leaves a folder that the next one may empty.
fn clear(out: &Path) -> Result<(), Box<dyn Error>> {
    if out.join(LIST).exists() {
        fs::remove_dir_all(out)?;
    } else if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("{} is not empty, and not a bundle", out.display()).into());
    }
    fs::create_dir_all(out)?;
    fs::write(out.join(LIST), "")?;
    Ok(())
}

fn bind(wasm: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(wasm).out_name(STEM).remove_name_section(true).remove_producers_section(true);
    // Where a panic aborts, too, what called JavaScript must not go on when that comes back with a trap: it would take it for an error of the call.
    bindgen.force_enable_abort_handler(true);
    bindgen.module(true)?;
    bindgen.generate(out)?;

    // In workerd a plain import gives the compiled module, as a source-phase import does by the standard.
    let glue = out.join(format!("{STEM}.js"));
    let text = fs::read_to_string(&glue)?;
    let plain = text.replacen("import source ", "import ", 1);
    if plain == text {
        return Err("wasm-bindgen no longer writes `import source`: this program has to be adapted".into());
    }
    fs::write(glue, plain)?;
    Ok(())
}

fn entry(classes: &[String]) -> Result<String, Box<dyn Error>> {
    let mut text = ENTRY_HEAD.to_owned();
    for class in classes {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if class.is_empty() || !class.chars().all(word) {
            return Err(format!("{class:?} is not the name of a class").into());
        }
        writeln!(text, "export const {class} = durableObject(worker.{class}, objectEvents);")?;
    }
    Ok(text)
}

/// The modules below `out`, as paths relative to it; the entry first, as workerd wants it.
fn modules_in(out: &Path) -> io::Result<Vec<PathBuf>> {
    let mut modules = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(out.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.as_os_str() != LIST {
                modules.push(path);
            }
        }
    }
    modules.sort_by_key(|path| (path.as_os_str() != ENTRY, path.clone()));
    Ok(modules)
}

fn module_list(modules: &[PathBuf]) -> Result<String, Box<dyn Error>> {
    // The id is any number with its top bit set; only files that import each other must not share one.
    let mut text = String::from(
        "@0xe6b9bd4c4f1c2a57;\nusing Workerd = import \"/workerd/workerd.capnp\";\n\nconst modules :List(Workerd.Worker.Module) = [\n",
    );
    for module in modules {
        let kind = match module.extension().and_then(|extension| extension.to_str()) {
            Some("js") => "esModule",
            Some("wasm") => "wasm",
            _ => return Err(format!("{} is neither JavaScript nor WebAssembly", module.display()).into()),
        };
        let parts: Option<Vec<_>> = module.iter().map(|part| part.to_str()).collect();
        let name = parts.ok_or("the name of a module is not UTF-8")?.join("/");
        writeln!(text, "  (name = {name:?}, {kind} = embed {name:?}),")?;
    }
    text.push_str("];\n");
    Ok(text)
}
