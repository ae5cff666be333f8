// What runs first: it opens the stream, while the views still load.

import { isAfter, newChat, openIn, rename } from './state.js';
import { isRoomName, roomOfFragment } from './text.js';
import { openFeed } from './network.js';
import { wordsFor } from './words.js';

export const words = wordsFor(navigator.languages); // Others than English are fetched.
export const prefix = `chatroom ${location.pathname} `; // This host may have other chats under other paths.
export const local = openStorage('localStorage');
export const tab = openStorage('sessionStorage');

// By room: up to where it was read, and the name under which it is followed.
export const follows = () => local.get('followed') ?? {};
export const followed = () => Object.keys(follows()).filter((room) => follows()[room].name === chat.name);

export const chat = newChat(tab.get('name') || local.get('name') || '', (room) => follows()[room]?.read ?? '');

/** What is told before `main` has loaded. */
export const waiting = [];
export const handlers = {
	apply(what) {
		waiting.push(what);
	},
};

export const roomHere = () => roomOfFragment(location.hash) || 'lobby';

/** @type {ReturnType<typeof openFeed>} */
export let feed;

export function joinAs(name) {
	rename(chat, name);
	feed?.close();
	feed = openFeed(chat, prefix + name, wanted, (what) => handlers.apply(what));
}

const wanted = (shown) => [...new Set([...shown, ...followed()])].filter((room) => isRoomName(room) && !chat.refused.has(room));

export function setFollowed(room, entry) {
	const { [room]: _, ...others } = follows();
	local.set('followed', entry ? { ...others, [room]: entry } : others);
	feed.moved();
}

/** Other tabs keep their name, and its rooms. */
export function moveFollowed(names, name) {
	if (!feed.isAlone()) return;
	const rooms = follows();
	for (const each of Object.values(rooms)) if (names.includes(each.name)) each.name = name;
	local.set('followed', rooms);
}

export function saveReads() {
	const rooms = follows();
	const moved = [...chat.rooms.values()].filter(({ room, read }) => read && rooms[room] && isAfter(read, rooms[room].read));
	for (const { room, read } of moved) rooms[room].read = read;
	if (moved.length) local.set('followed', rooms);
}

/** Where the browser refuses storage, it lasts as long as the page is open. */
function openStorage(area) {
	const memory = new Map();
	return {
		get(key) {
			try {
				return JSON.parse(globalThis[area].getItem(prefix + key)) ?? memory.get(key);
			} catch {
				return memory.get(key);
			}
		},
		set(key, value) {
			try {
				globalThis[area].setItem(prefix + key, JSON.stringify(value));
			} catch {
				memory.set(key, value);
			}
		},
	};
}

openIn(chat, roomHere());
joinAs(chat.name);
