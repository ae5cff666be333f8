// Extracts the README's examples and tables, so that the tests run what people copy.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../common/support.mjs';

export const readme = readFileSync(path.join(root, 'README.md'), 'utf8');

/** The fenced blocks of a language (the first word of the info string), in order, without the indentation of the list around them. */
export function blocks(language) {
  const fence = /^( *)```(\S*)\n([\s\S]*?)^\1```$/gm;
  return [...readme.matchAll(fence)]
    .filter(([, , info]) => info.split(',')[0] === language)
    .map(([, indent, , text]) => text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''));
}

/** The one block of a language that contains this text. */
export function block(language, containing) {
  const found = blocks(language).filter((text) => text.includes(containing));
  if (found.length !== 1) throw new Error(`the README has ${found.length} blocks of ${language} with ${containing}`);
  return found[0];
}

/** The cells of the table rows below a heading. */
export function table(heading) {
  const section = readme.split(new RegExp(`^#+ ${heading}$`, 'm'))[1].split(/^#/m)[0];
  return [...section.matchAll(/^\| (.*) \|$/gm)]
    .map(([, row]) => row.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|')))
    .filter(([first]) => !first.startsWith('---'))
    .slice(1);
}
