-- An image that is collected is forgotten by its id, whatever went into it.
CREATE INDEX images_by_id ON images (app_id, image);
