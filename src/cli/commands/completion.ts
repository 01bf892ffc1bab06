/** oao completion: a script for the shell that asks `oao __complete` for what may come next. */
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { CliError } from "../errors.ts";
import { defaultNamespace, openExistingIndex } from "../home.ts";
import type { Terminal } from "../terminal.ts";

const scripts: Readonly<Record<string, string>> = {
  bash: `_oao() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$("\${COMP_WORDS[0]}" __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _oao oao
`,
  zsh: `#compdef oao
_oao() {
  local -a found
  found=("\${(@f)$("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[1]}" ]]; then compadd -a found; else _files; fi
}
compdef _oao oao
`,
  fish: `complete -c oao -a '(set -l words (commandline -opc) (commandline -ct); oao __complete $words[2..] 2>/dev/null)'
`,
};

const installs: Readonly<Record<string, string>> = {
  bash: "oao completion bash > ~/.local/share/bash-completion/completions/oao",
  zsh: 'oao completion zsh > "${fpath[1]}/_oao"',
  fish: "oao completion fish > ~/.config/fish/completions/oao.fish",
};

export function completion(shell: string, terminal: Terminal): CliExitCode {
  const script = scripts[shell];
  if (script === undefined)
    throw new CliError(`there is no completion for ${shell}; there is for ${Object.keys(scripts).join(", ")}`);
  terminal.out(script);
  terminal.err(`keep it: ${installs[shell] ?? ""}\n`);
  return cliExitCodes.succeeded;
}

/** What the program tells about itself, so that the script never lags behind it. */
export interface CommandShape {
  readonly name: string;
  readonly options: readonly string[];
  /** Its first argument is the name of a run. */
  readonly takesRun: boolean;
}

const namesMax = 500;

/** One candidate a line for the last of `words`; none = let the shell complete files. */
export async function complete(
  words: readonly string[],
  commands: readonly CommandShape[],
  terminal: Terminal,
): Promise<CliExitCode> {
  const current = words.at(-1) ?? "";
  const command = commands.find(({ name }) => name === words[0]);
  const print = (candidates: readonly string[]) => {
    const found = candidates.filter((candidate) => candidate.startsWith(current));
    if (found.length > 0) terminal.out(`${found.join("\n")}\n`);
    return cliExitCodes.succeeded;
  };
  if (words.length <= 1 || command === undefined) return print(commands.map(({ name }) => name));
  if (current.startsWith("-")) return print(command.options);
  if (command.name === "completion") return print(Object.keys(scripts));
  if (!command.takesRun) return cliExitCodes.succeeded;
  const at = Math.max(words.indexOf("-n"), words.indexOf("--namespace"));
  const namespace = at > 0 && at < words.length - 1 ? (words[at + 1] ?? defaultNamespace) : defaultNamespace;
  const index = await openExistingIndex(terminal);
  return print(index?.names(namespace, namesMax) ?? []);
}
