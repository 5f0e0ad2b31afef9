//! The channels by which a subscriber is reached.

/// How a subscriber is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// `email`
    Email,
    /// `sms`
    Sms,
    /// `push`
    Push,
    /// `telegram_bot`
    TelegramBot,
    /// `whatsapp`
    Whatsapp,
    /// `viber`
    Viber,
    /// `notify`
    Notify,
}

impl Channel {
    /// Every channel there is.
    pub const ALL: [Channel; 7] = [
        Channel::Email,
        Channel::Sms,
        Channel::Push,
        Channel::TelegramBot,
        Channel::Whatsapp,
        Channel::Viber,
        Channel::Notify,
    ];

    /// The channel's name in requests and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Channel::Email => "email",
            Channel::Sms => "sms",
            Channel::Push => "push",
            Channel::TelegramBot => "telegram_bot",
            Channel::Whatsapp => "whatsapp",
            Channel::Viber => "viber",
            Channel::Notify => "notify",
        }
    }

    /// The channel of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

/// A set of channels: what a resource offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Channels(u8);

impl Channels {
    /// Whether the set has this channel.
    pub fn contains(self, channel: Channel) -> bool {
        self.0 & (1 << channel as u8) != 0
    }
}

impl FromIterator<Channel> for Channels {
    fn from_iter<I: IntoIterator<Item = Channel>>(channels: I) -> Self {
        Self(
            channels
                .into_iter()
                .fold(0, |set, channel| set | (1 << channel as u8)),
        )
    }
}
