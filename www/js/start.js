// What runs first: the stream is opened while the views are still on their way. And what the browser remembers of rooms and names.

import { applyOpened, isAfter, newChat, openIn, renameIn } from './state.js';
import { openStorage } from './browser.js';
import { roomOfFragment } from './text.js';
import { openFeed } from './feed.js';

export const prefix = `chatroom ${location.pathname} `; // Another chat may live under another path of this host.
export const local = openStorage('localStorage', prefix);
export const tab = openStorage('sessionStorage', prefix);

// Of each room that this browser follows: up to where it was read, and the name under which it is followed.
export const follows = () => local.get('followed') ?? {};
export const followed = () => Object.keys(follows()).filter((room) => follows()[room].name === chat.name);

export const chat = newChat(tab.get('name') || local.get('name') || '', (room) => follows()[room]?.read ?? '');

/** What is told before `main` is there to take it. */
export const waiting = [];
export const handlers = {
	apply(what) {
		if (what.opened) applyOpened(chat, what.opened);
		waiting.push(() => handlers.apply(what));
	},
	adopt: (snapshot) => void waiting.push(() => handlers.adopt(snapshot)),
};

export const roomHere = () => roomOfFragment(location.hash) || 'lobby';

/** @type {ReturnType<typeof openFeed>} */
export let feed;

export function joinAs(name) {
	renameIn(chat, name);
	feed?.close();
	feed = openFeed({ key: prefix + name, chat, followed, apply: (what) => handlers.apply(what), adopt: (snapshot) => handlers.adopt(snapshot) });
}

export function setFollowed(room, entry) {
	const rooms = follows();
	if (entry) rooms[room] = entry;
	else delete rooms[room];
	local.set('followed', rooms);
	feed.moved();
}

/** The rooms go with their reader to another name. Other tabs keep the name that they have, and its rooms. */
export function moveFollowed(names, name) {
	const rooms = follows();
	if (feed.isAlone()) for (const each of Object.values(rooms)) if (names.includes(each.name)) each.name = name;
	local.set('followed', rooms);
}

export function saveReads() {
	const rooms = follows();
	const stale = [...chat.rooms.values()].filter(({ room, read }) => read && rooms[room] && isAfter(read, rooms[room].read));
	for (const { room, read } of stale) rooms[room].read = read;
	if (stale.length) local.set('followed', rooms);
}

openIn(chat, roomHere());
joinAs(chat.name);
