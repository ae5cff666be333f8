// The words of the page in the reader's language, and dates as that language writes them.

// To add a language, add an entry. Words that an entry lacks are shown in English.
export const WORDS = {
	en: {
		sidePanel: 'Rooms and people', rooms: 'Your rooms', otherRooms: 'Other rooms', people: 'People', you: 'You', messages: 'Messages',
		close: 'Close', pending: 'Not sent yet', otherRoom: 'Go to a room', rename: 'Change name', yourName: 'Your name', join: 'Join', cancel: 'Cancel',
		notifyOf: 'Notify me of', notifyOff: 'nothing', notifyMentions: 'mentions', notifyAll: 'all messages', sound: 'Play a sound',
		message: 'Message', messageTo: 'Message #{room}', send: 'Send', retry: 'Retry', discard: 'Discard', viaApi: 'via API',
		joinHelp: 'You are reading along. Choose a name to take part.', renameHelp: 'Your earlier messages keep the old name.',
		composerHelp: 'Enter sends, Shift+Enter starts a new line.', left: '{n} bytes left', over: '{n} bytes too long',
		badRoom: 'A room name has at most 64 letters, digits, “-”, “_” and “.” (not first).',
		newest: 'Newest messages', newMessages: { one: '{n} new message', other: '{n} new messages' }, newLine: 'New since you left',
		unread: '{n} unread', mentioned: { one: '{n} mention', other: '{n} mentions' }, here: { one: '{n} person', other: '{n} people' },
		andMore: 'and {n} more', listening: '{n} reading along', leave: 'Leave #{room}',
		beginning: 'Nothing older is kept.', empty: 'Nothing has been said here yet.',
		invite: 'Invite people', copied: 'Copied', differentPerson: 'not the same person as before',
		removed: { one: 'A message was removed.', other: '{n} messages were removed.' },
		gapExpired: 'Messages are missing here: they are no longer kept.', gapUnknown: 'Messages may be missing here: the server was restarted.',
		connecting: 'Connecting…', connected: 'Connected', waiting: 'Reconnecting', inSeconds: 'in {n} s', offline: 'Offline',
		closing: 'The server is closing', refused: 'Not connected', sending: 'Sending…', queued: 'Waiting for the connection',
		inLine: 'Waiting for the message before it', rateLimited: 'Too many messages at once. Sent in {n} s.',
		logHelp: 'Enter selects a message.', actions: 'Message actions', reply: 'Reply', copy: 'Copy text', remove: 'Remove…', ban: 'Ban author…',
		removeTitle: 'Remove this message?', removeBody: '{name}’s message disappears for everyone in #{room}. This cannot be undone.', removeNow: 'Remove',
		banTitle: 'Ban {name}?', banBody: '{name} is disconnected at once and can only read, in all rooms, until the ban ends.', banFor: 'Duration', banNow: 'Ban',
		minutes60: '1 hour', minutes1440: '1 day', minutes10080: '1 week', minutes525600: '1 year',
		banAddress: 'Ban the network address too', banMessages: 'Remove all messages of this author, for good',
		moderate: 'Log in as moderator', moderator: 'You are a moderator.', password: 'Moderator password', logIn: 'Log in', logOut: 'Stop moderating',
		bans: 'Bans', noBans: 'Nobody is banned.', banLine: 'until {until}', banWithAddress: 'with address, until {until}', lift: 'Lift',
		// For other codes the server's own English message is shown.
		errors: {
			'name-taken': 'Somebody else is here as “{name}”. Choose another name, or try again in a while.',
			'too-many-streams': 'There is no place left right now. Trying again automatically.',
			banned: 'A moderator has banned you until {until}. You can still read.',
			'wrong-password': 'That is not the moderator password.',
		},
		otherError: 'The server refused this (status {status}).', noAnswer: 'The server did not answer. Try again.',
	},
	'zh-Hans': {
		sidePanel: '房间和成员', rooms: '我的房间', otherRooms: '其他房间', people: '成员', you: '我', messages: '消息',
		close: '关闭', pending: '尚未发送', otherRoom: '前往房间', rename: '更改名字', yourName: '你的名字', join: '加入', cancel: '取消',
		notifyOf: '通知', notifyOff: '关闭', notifyMentions: '提到我的消息', notifyAll: '所有消息', sound: '播放提示音',
		message: '消息', messageTo: '发送到 #{room}', send: '发送', retry: '重试', discard: '放弃', viaApi: '通过接口',
		joinHelp: '你正在旁观。取个名字即可发言。', renameHelp: '之前的消息仍显示原来的名字。',
		composerHelp: '回车发送，Shift+回车换行。', left: '还可输入 {n} 字节', over: '超出 {n} 字节',
		badRoom: '房间名最多 64 个字符，可用文字、数字、“-”、“_”和“.”（不能开头）。',
		newest: '最新消息', newMessages: '{n} 条新消息', newLine: '你离开后的新消息',
		unread: '{n} 条未读', mentioned: '{n} 次提到你', here: '{n} 人',
		andMore: '另有 {n} 人', listening: '{n} 人旁观', leave: '离开 #{room}',
		beginning: '没有更早的消息了。', empty: '这里还没有人说话。',
		invite: '邀请他人', copied: '已复制', differentPerson: '与之前不是同一人',
		removed: '{n} 条消息已被移除。',
		gapExpired: '此处缺少一些消息：服务器已不再保留。', gapUnknown: '此处可能缺少消息：服务器已重新启动。',
		connecting: '正在连接…', connected: '已连接', waiting: '正在重新连接', inSeconds: '{n} 秒后', offline: '离线',
		closing: '服务器正在关闭', refused: '未连接', sending: '正在发送…', queued: '等待连接',
		inLine: '等待前一条消息', rateLimited: '发送太快，{n} 秒后发出。',
		logHelp: '按回车选择消息。', actions: '消息操作', reply: '回复', copy: '复制文字', remove: '移除…', ban: '封禁作者…',
		removeTitle: '移除这条消息？', removeBody: '{name} 的消息将对 #{room} 的所有人消失，无法恢复。', removeNow: '移除',
		banTitle: '封禁 {name}？', banBody: '{name} 会立即断开，封禁期间在所有房间只能旁观。', banFor: '时长', banNow: '封禁',
		minutes60: '1 小时', minutes1440: '1 天', minutes10080: '1 周', minutes525600: '1 年',
		banAddress: '同时封禁网络地址', banMessages: '永久移除此作者的所有消息',
		moderate: '以管理员身份登录', moderator: '你是管理员。', password: '管理员密码', logIn: '登录', logOut: '退出管理',
		bans: '封禁列表', noBans: '没有人被封禁。', banLine: '至 {until}', banWithAddress: '含地址，至 {until}', lift: '解除',
		errors: {
			'name-taken': '已有人使用“{name}”。请换一个名字，或稍后再试。',
			'bad-name': '不能使用这个名字：1 到 32 个可见字符，首尾不能有空格。',
			'bad-room': '房间不能叫这个名字，请换一个。',
			'too-large': '消息太长，请缩短或分几次发送。',
			'room-not-offered': '这里没有这个房间，请从列表中选择。',
			'password-required': '需要密码。请刷新页面后输入。',
			'too-many-streams': '服务器暂时没有空位，会自动重试。',
			'too-many-rooms': '服务器暂时不能新建房间，请从列表中选择。',
			'too-many-attempts': '尝试次数过多，请稍后再试。',
			'too-many-bans': '封禁数量已达上限，请先解除一些。',
			'storage-full': '服务器磁盘已满，消息没有保存：请稍后重发。',
			'storage-failed': '服务器无法再保存消息，请告知管理员。',
			banned: '管理员已将你封禁至 {until}。你仍可旁观。',
			'wrong-password': '管理员密码不正确。',
			'not-yours': '只能移除自己的消息。',
		},
		otherError: '服务器拒绝了请求（状态 {status}）。', noAnswer: '服务器没有回应，请重试。',
	},
};

/** Finds the entry for a language tag. `zh-TW` is written in other characters than `zh-Hans` and gets none. */
function entryFor(tag) {
	try {
		const { language, script } = new Intl.Locale(tag).maximize();
		return [language, `${language}-${script}`].find((key) => key in WORDS);
	} catch {
		return undefined;
	}
}

/** Returns a function from key and values to words, in the first of the reader's languages that has an entry. */
export function wordsFor(languages) {
	const locale = languages.find(entryFor) ?? 'en';
	const language = entryFor(locale) ?? 'en';
	const plural = new Intl.PluralRules(language);
	const fill = (words, values) => words.replace(/\{(\w+)\}/g, (_, key) => values[key]);
	const say = (key, values = {}) => {
		const found = WORDS[language][key] ?? WORDS.en[key];
		return fill(typeof found === 'string' ? found : found[plural.select(values.n)] ?? found.other, values);
	};
	const format = (options) => {
		const formatter = new Intl.DateTimeFormat(locale, options);
		return (millis) => formatter.format(millis);
	};
	const time = format({ hour: '2-digit', minute: '2-digit' });
	const full = format({ dateStyle: 'full', timeStyle: 'medium' });
	const short = format({ dateStyle: 'medium', timeStyle: 'short' });
	const date = format({ weekday: 'long', year: 'numeric', month: 'long', day: 'numeric' });
	const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' });

	/** Today, yesterday, or the date. */
	const day = (millis) => {
		const midnight = (moment) => new Date(moment).setHours(0, 0, 0, 0);
		const days = Math.round((midnight(millis) - midnight(Date.now())) / 86_400_000);
		return days === 0 || days === -1 ? relative.format(days, 'day') : date(millis);
	};
	const error = ({ code, message, status, name, until }) => {
		const known = WORDS[language].errors[code] ?? WORDS.en.errors[code];
		if (known) return fill(known, { name, until: until ? short(until) : '…' });
		return message || say(status ? 'otherError' : 'noAnswer', { status });
	};
	return Object.assign(say, { language, locale, time, full, short, day, error });
}
