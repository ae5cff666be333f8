// Extracts the examples and tables of the README and the guide, so that the tests run what people copy.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../common/support.mjs';

/** The pages by the path of their files, in reading order. */
export const pages = Object.fromEntries(['README.md', ...['http', 'installing', 'operating', 'people', 'recipes', 'security', 'servers', 'figures', 'tour', 'changes'].map((name) => `src/guide/${name}.md`)]
  .map((file) => [file, readFileSync(path.join(root, file), 'utf8')]));

/** The fenced blocks of a language (the first word of the info string), in order, without the indentation of the list around them. */
export function blocks(language, file) {
  const fence = /^( *)```(\S*)\n([\s\S]*?)^\1```$/gm;
  const texts = file ? [pages[file]] : Object.values(pages);
  return texts.flatMap((text) => [...text.matchAll(fence)])
    .filter(([, , info]) => info.split(',')[0] === language)
    .map(([, indent, , text]) => text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''));
}

/** The one block of a language that contains this text. */
export function block(language, containing, file) {
  const found = blocks(language, file).filter((text) => text.includes(containing));
  if (found.length !== 1) throw new Error(`there are ${found.length} blocks of ${language} with ${containing} in ${file ?? 'all pages'}`);
  return found[0];
}

/** The text of a page from a heading to the next one. */
export function section(heading, file) {
  const found = pages[file].split(new RegExp(`^#+ ${heading}$`, 'm'))[1];
  if (!found) throw new Error(`${file} has no heading ${heading}`);
  return found.split(/^##/m)[0];
}

/** The cells of the table rows below a heading. */
export function table(heading, file) {
  return [...section(heading, file).matchAll(/^\| (.*) \|$/gm)]
    .map(([, row]) => row.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|')))
    .filter(([first]) => !first.startsWith('---'))
    .slice(1);
}
