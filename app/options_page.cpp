// Prints docs/configuration.md from the table of marud's options. `scripts/docs` writes it; a test compares.
#include <cstdio>
#include <string>

#include "base/options.hpp"

namespace {

using std::string;

// What would end a cell of a table.
string cell(const string& text) {
  string out;
  for (char c : text)
    out += c == '|' ? string{"\\|"} : string{c};
  return out;
}

// Without the words that an option takes at its end, which have a column of their own.
string without_words(const string& help) { return help.ends_with(']') ? help.substr(0, help.rfind(" [")) : help; }

string code(const string& text) { return text.empty() ? "none" : "`" + cell(text) + "`"; }

constexpr auto introduction =
  R"(<!-- Made by scripts/docs from base/options.cpp. Change that, and run it. -->
# The options of marud

Every option stands on the command line as `--name value`, or in a file for `--config FILE` as a line `name = value`
without the dashes, some in an environment variable too; the command line wins over the variable, the variable over the
file. `deploy/marud.toml` is such a file, with every option at its default. A name that does not exist, or a value that an
option does not take, ends the start with a sentence that names it (exit code 2).

A size is a number with an optional unit: `B`, `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024), `kB`, `MB`, `GB`, `TB` (of
1000). A flag is `--name` on the command line, `name = true` in the file. [operate.md](operate.md) says how to choose.
)";

}  // namespace

int main() {
  string out = introduction, group;
  for (const auto& row : maru::marud_option_rows()) {
    if (row.group != group) {
      group = row.group;
      out += "\n## " + group + "\n\n| option | default | takes | what it does |\n|---|---|---|---|\n";
    }
    auto takes = row.accepts.empty() ? string{"a path"} : row.accepts;
    auto variable = row.environment.empty() ? string{} : ". In the environment: `" + row.environment + "`";
    out += "| `" + row.name + "` | " + code(row.default_value) + " | " + cell(takes) + " | "
           + cell(without_words(row.help)) + variable + " |\n";
  }
  return std::fputs(out.c_str(), stdout) < 0 ? 1 : 0;
}
